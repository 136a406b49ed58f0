"""Background work of every kind, chosen by the path of a request, and checks that can fail."""

import asyncio
import contextlib
import sys

import structlog
from fastapi import FastAPI

from app.lifecycle.service import Service
from tests.apps.runner import run

log = structlog.get_logger(__name__)
app = FastAPI()
ill: set[str] = set()


async def nap(seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
        log.info("nap over", seconds=seconds)
    except asyncio.CancelledError as error:
        log.info("nap cancelled", why=str(error))
        raise


async def fail() -> None:
    raise LookupError("lost")


async def ignore_all() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)


@app.get("/spawn/{what}")
async def spawn(what: str) -> str:
    work = {"short": nap(0.5), "long": nap(3600), "failing": fail(), "deaf": ignore_all()}
    service: Service = app.state.service
    service.tasks.spawn(work.pop(what), name=what)
    for unused in work.values():
        unused.close()
    return what


@app.get("/check/{name}/{state}")
async def check(name: str, state: str) -> str:
    (ill.discard if state == "well" else ill.add)(name)
    return state


def prepare(service: Service) -> None:
    async def rounds() -> None:
        """Each takes three times its interval."""
        log.info("round", step="begin")
        await asyncio.sleep(0.6)
        log.info("round", step="end")

    service.tasks.every(0.2, rounds, name="rounds")
    service.tasks.every(3600, rounds, name="rare")
    for name in ("gate", "shared"):

        async def ask(name: str = name) -> None:
            if name in ill:
                raise PermissionError("password=hunter2")
            if f"{name}-slow" in ill:
                await asyncio.sleep(3600)

        service.checks.add(name, ask, period=0.1, timeout=0.3, gating=name == "gate")


if __name__ == "__main__":
    sys.exit(run(app, prepare=prepare))
