"""A singleton that writes down when it runs, to a file that all pods of a test share.

Each line is ``time pod word``, the time on the monotonic clock, which all
processes of a machine share. WORK says how it behaves.
"""

import asyncio
import contextlib
import os
import sys
import time
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI

from app import environment
from app.components import lease
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from tests.apps.runner import run

POD, WORK = os.environ["POD_NAME"], os.environ.get("WORK", "steady")
JOURNAL = os.open(os.environ["JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
TICK = 0.02

app = FastAPI()


def note(word: str) -> None:
    os.write(JOURNAL, f"{time.monotonic():.6f} {POD} {word}\n".encode())


async def steady() -> None:
    note("begin")
    try:
        while True:
            note("tick")
            await asyncio.sleep(TICK)
    finally:
        note("end")


async def short() -> None:
    note("begin")
    await asyncio.sleep(0.3)
    note("end")


async def deaf() -> None:
    note("begin")
    while True:
        note("tick")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(TICK)


async def blocking() -> None:
    """Blocks the event loop for longer than any lease."""
    note("begin")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        note("tick")
        time.sleep(TICK)  # noqa: ASYNC251


async def tidy() -> None:
    """Takes its time to clean up."""
    note("begin")
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(float(os.environ.get("TIDY", "0.3")))
        note("end")


async def failing() -> None:
    note("begin")
    raise LookupError("lost")


@app.get("/block")
async def block(seconds: float) -> str:
    time.sleep(seconds)  # noqa: ASYNC251
    return "unblocked"


def campaign() -> AbstractAsyncContextManager[None]:
    leadership = app.state.service.tasks.leadership
    return lease.campaign(leadership, environment.load())


def prepare(service: Service) -> None:
    kinds = (steady, short, deaf, blocking, tidy, failing)
    (work,) = (kind for kind in kinds if kind.__name__ == WORK)
    service.tasks.every(0.05, work, name=WORK, singleton=True)


if __name__ == "__main__":
    sys.exit(run(app, [Component("lease", campaign)], prepare=prepare))
