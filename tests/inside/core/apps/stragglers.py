"""What a handler can leave behind: work after a stream, a task of its own, a timer."""

import asyncio
import contextlib
import itertools
import sys
import threading
from collections.abc import AsyncIterator

import structlog
from fastapi import FastAPI
from starlette.background import BackgroundTask
from starlette.responses import StreamingResponse

from tests.apps.runner import run

log = structlog.get_logger(__name__)
app = FastAPI()
kept: list[asyncio.Task[None]] = []


async def nap() -> None:
    """Longer than any of the waits for a stream that is told to end."""
    log.info("nap", step="begin")
    await asyncio.sleep(2.5)
    log.info("nap", step="end")


@app.get("/stream")
async def stream(events: int) -> StreamingResponse:
    """So many events; work begins when the last one is out, or when the stream is ended."""

    async def ticks() -> AsyncIterator[str]:
        for count in itertools.islice(itertools.count(), events):
            yield f"data: {count}\n\n"
            await asyncio.sleep(0.05)

    background = BackgroundTask(nap)
    return StreamingResponse(ticks(), media_type="text/event-stream", background=background)


@app.get("/timer")
async def timer() -> str:
    waiting = threading.Timer(3600, print)
    waiting.name = "reminder"
    waiting.start()
    return "set"


@app.get("/stray")
async def stray() -> str:
    """A task that nobody registered, and that does not let itself be cancelled."""

    async def ignore_all() -> None:
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    kept.append(asyncio.create_task(ignore_all(), name="stray"))
    return "gone astray"


@app.get("/slow/{padding}")
async def slow(padding: str) -> str:
    """The access line of a long path is more than a buffer holds."""
    await asyncio.sleep(1)
    return "slow"


if __name__ == "__main__":
    sys.exit(run(app))
