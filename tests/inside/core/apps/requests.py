"""Plain requests of every kind: in the loop, in threads, with work behind them."""

import asyncio
import collections
import functools
import os
import sys
import time
from collections.abc import AsyncIterator

from fastapi import BackgroundTasks, FastAPI
from starlette.responses import StreamingResponse

from app.lifecycle.http.streams import current_draining
from tests.apps.runner import run

app = FastAPI()
go_on = asyncio.Event()


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slow"


@app.get("/until_cut")
async def until_cut(leave: float) -> float:
    """Works until only this much time is left; the seconds that were."""
    draining = current_draining()
    for _ in range(10_000):
        if draining.remaining() < leave:
            break
        await asyncio.sleep(0.05)
    return draining.remaining()


@app.get("/thread")
def thread(seconds: float) -> str:
    time.sleep(seconds)
    return "thread"


@app.get("/pool")
async def pool(seconds: float) -> str:
    """The worker has no frame of its own: it is inside the pool and in C."""
    await asyncio.to_thread(time.sleep, seconds)
    return "pool"


@app.get("/compute")
async def compute(until: str) -> str:
    """Stays in C until that file exists: in the loop's thread, where no handler of Python's runs.

    Not one step of the iteration is Python's.
    """
    exists = functools.partial(os.access, until, os.F_OK)
    collections.deque(iter(exists, True), maxlen=0)
    return "computed"


@app.get("/block")
async def block(until: str) -> str:
    """Blocks the loop until that file exists."""
    while not os.path.exists(until):  # noqa: ASYNC240, PTH110
        time.sleep(0.01)  # noqa: ASYNC251
    return "blocked"


@app.get("/deaf")
async def deaf(seconds: float) -> str:
    """Does not let itself be cancelled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    return "deaf"


@app.get("/background")
async def background(tasks: BackgroundTasks, seconds: float) -> str:
    tasks.add_task(asyncio.sleep, seconds)
    return "accepted"


@app.get("/download")
async def download() -> StreamingResponse:
    """Half now, half when /go-on is asked: a response whose headers are long gone."""

    async def halves() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"second"

    return StreamingResponse(halves(), media_type="text/plain")


@app.get("/go-on")
async def let_go_on() -> str:
    go_on.set()
    return "going on"


@app.get("/large")
async def large(mebibytes: int) -> StreamingResponse:
    """More than the buffers of the two sockets hold."""

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(mebibytes):
            yield bytes(1024 * 1024)

    return StreamingResponse(parts(), media_type="application/octet-stream")


@app.get("/fail")
async def fail() -> str:
    raise LookupError("nobody's business")


if __name__ == "__main__":
    sys.exit(run(app))
