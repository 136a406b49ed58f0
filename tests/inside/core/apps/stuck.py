"""What can hang: requests, threads, tasks, the lifespan, and a store that is borrowed from.

HELD says how the store answers: "hang" or "raise"; else it names what is borrowed. CLOSE is how
the store closes: "hang" or "thread" (waits for a thread that hangs); else at once.
"""

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from fastapi import FastAPI

from app.lifecycle.components import Component
from app.lifecycle.service import Service
from app.lifecycle.stuck import Held
from tests.apps.runner import run


class Store:
    """Knows since when each of its connections is borrowed."""

    def __init__(self) -> None:
        self.borrowed: dict[str, float] = {}

    def held(self) -> Iterable[Held]:
        if os.environ.get("HELD") == "hang":
            threading.Event().wait()
        if os.environ.get("HELD") == "raise":
            raise LookupError("no idea")
        now = time.monotonic()
        for name, began in list(self.borrowed.items()):
            yield Held("connection", name, now - began, ["somewhere.py:1 in borrow"])


store = Store()
ended = threading.Event()


@contextlib.asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    if os.environ.get("LIFESPAN") == "hang":
        await never_ending_lifespan()


async def never_ending_lifespan() -> None:
    await asyncio.sleep(3600)


app = FastAPI(lifespan=lifespan)


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Store]:
    yield store
    if os.environ.get("CLOSE") == "hang":
        await never_closing()
    if os.environ.get("CLOSE") == "thread":
        await asyncio.to_thread(ended.wait)


async def never_closing() -> None:
    await asyncio.sleep(3600)


@app.get("/borrow")
async def borrow(name: str) -> str:
    store.borrowed[name] = time.monotonic()
    await asyncio.sleep(3600)
    return name


@app.get("/thread")
def thread() -> str:
    ended.wait()
    return "thread"


@app.get("/block")
async def block(until: str) -> str:
    """Block the event loop until this file exists."""
    while not Path(until).exists():  # noqa: ASYNC240
        time.sleep(0.01)  # noqa: ASYNC251
    return "block"


@app.get("/spawn")
async def spawn() -> str:
    async def never_ending_task() -> None:
        await asyncio.sleep(3600)

    service: Service = app.state.service
    service.tasks.spawn(never_ending_task(), name="long")
    return "spawned"


def prepare(service: Service) -> None:
    async def never_ending_round() -> None:
        await asyncio.sleep(3600)

    service.tasks.every(0.1, never_ending_round, name="round")
    service.tasks.every(3600, never_ending_round, name="rare")


if __name__ == "__main__":
    sys.exit(run(app, [Component("store", opened)], prepare))
