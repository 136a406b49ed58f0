"""A handler of each kind that says how it ended."""

import asyncio
import contextlib
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import anyio
import httpx2
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from starlette.responses import StreamingResponse

from app.api import problems
from app.api.dependencies import Finite
from app.lifecycle import deadline
from tests.apps.runner import run

app = FastAPI(responses=problems.RESPONSES)
problems.install(app)
ends: Counter[str] = Counter()
held = threading.Semaphore(5)
release = threading.Event()


@contextlib.contextmanager
def counted(kind: str) -> Iterator[None]:
    try:
        yield
    except BaseException:
        ends[f"{kind}: {deadline.reason() or 'failed'}"] += 1
        raise
    else:
        ends[f"{kind}: done"] += 1


@app.get("/ends")
@deadline.timeout(None)
async def how_they_ended() -> dict[str, int]:
    return dict(ends)


@app.get("/plain")
async def plain(seconds: float) -> float:
    with counted("plain"):
        left = deadline.remaining()
        await asyncio.sleep(seconds)
        return left


@app.get("/route")
@deadline.timeout(0.3)
async def route(seconds: float) -> float:
    return await plain(seconds)


@app.get("/unlimited")
@deadline.timeout(None)
async def unlimited(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return str(deadline.remaining())


@app.get("/finishes")
@deadline.finishes
async def finishes(seconds: float) -> float:
    return await plain(seconds)


@app.get("/group")
async def group(seconds: float) -> list[float]:
    with counted("group"):
        async with asyncio.TaskGroup() as tasks:
            children = [tasks.create_task(child(seconds)) for _ in range(2)]
        return [one.result() for one in children]


@app.get("/anyio")
async def of_anyio(seconds: float) -> None:
    with counted("anyio"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child, seconds)


async def child(seconds: float) -> float:
    with counted("child"):
        left = deadline.remaining()
        await asyncio.sleep(seconds)
        return left


@app.get("/thread")
def thread(seconds: float) -> float:
    left = deadline.remaining()
    time.sleep(seconds)
    return left


@app.get("/held")
def held_thread() -> str:
    """Nothing but ``release`` ends it."""
    release.wait(30)
    return "released"


@app.get("/release")
@deadline.timeout(None)
async def release_them() -> None:
    release.set()


@app.get("/loop")
def loop() -> str:
    """A thread that asks for itself."""
    with counted("loop"):
        while True:
            deadline.raise_if_expired()
            time.sleep(0.01)


@app.get("/told")
async def told(request: Request) -> str | None:
    """What a called service learns."""
    return request.headers.get("x-request-timeout")


@app.get("/call")
async def call(request: Request) -> dict[str, object]:
    limits: list[object] = []

    async def note(sent: httpx2.Request) -> None:
        limits.append(sent.extensions["timeout"])

    hooks = {"request": [deadline.propagate, note]}
    async with httpx2.AsyncClient(event_hooks=hooks, timeout=60) as client:
        answer = await client.get(f"http://127.0.0.1:{request.scope['server'][1]}/told")
    return {"told": answer.json(), "limits": limits[0]}


@app.get("/to-thread")
async def to_thread() -> float:
    return await asyncio.to_thread(deadline.remaining)


@app.get("/stubborn")
async def stubborn(seconds: float) -> str:
    """It takes its cancellation for something else."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(seconds)
    return "late, but whole"


@app.get("/background")
async def background(tasks: BackgroundTasks, seconds: float) -> None:
    async def work() -> None:
        with counted("background"):
            await asyncio.sleep(seconds)

    tasks.add_task(work)


@app.get("/spawn")
async def spawn(seconds: float, keep: bool) -> None:
    async def work() -> None:
        with counted(f"spawned {deadline.remaining() < 60}"):
            await asyncio.sleep(seconds)

    app.state.service.tasks.spawn(work(), name="work", keep_deadline=keep)


async def parts(count: int, media_type: str) -> AsyncIterator[str]:
    with counted(media_type):
        for _ in range(count):
            yield "data: part\n\n"
            await asyncio.sleep(0.05)


@app.get("/download")
async def download(count: int) -> StreamingResponse:
    return StreamingResponse(parts(count, "text/plain"), media_type="text/plain")


@app.get("/events")
async def events(count: int) -> StreamingResponse:
    return StreamingResponse(parts(count, "text/event-stream"), media_type="text/event-stream")


@app.get("/finite", dependencies=[Finite])
async def finite(count: int) -> StreamingResponse:
    return StreamingResponse(parts(count, "text/event-stream"), media_type="text/event-stream")


@app.post("/upload")
async def upload(request: Request) -> int:
    await asyncio.sleep(30)
    return len(await request.body())


@app.websocket("/undecided")
async def undecided(websocket: WebSocket) -> None:
    """Neither accepts nor declines."""
    with counted("undecided"):
        await asyncio.sleep(30)


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


@app.get("/fails")
async def fails() -> None:
    raise LookupError("a secret")


if __name__ == "__main__":
    sys.exit(run(app))
