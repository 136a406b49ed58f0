"""A periodic task and a check that wait, when /break was asked, for something cancelled."""

import asyncio
import sys

import structlog
from fastapi import FastAPI

from app.lifecycle.service import Service
from tests.apps.runner import run

log = structlog.get_logger(__name__)
app = FastAPI()
broken: set[str] = set()


@app.get("/break")
async def break_it() -> str:
    broken.add("it")
    return "broken"


@app.get("/mend")
async def mend() -> str:
    broken.clear()
    return "mended"


async def wait_for_it() -> None:
    """Raises CancelledError, though nobody has cancelled the caller."""
    if broken:
        other: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        other.cancel()
        await other


async def pulse() -> None:
    await wait_for_it()
    log.info("pulse")


def prepare(service: Service) -> None:
    service.tasks.every(0.1, pulse, name="pulse")
    service.checks.add("gate", wait_for_it, period=0.1, timeout=1, gating=True)


if __name__ == "__main__":
    sys.exit(run(app, prepare=prepare))
