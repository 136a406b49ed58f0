"""What clients of the edge's tests ask for: bodies in both directions, and WebSockets."""

import asyncio
import sys
from collections.abc import AsyncIterator

from fastapi import Body, FastAPI, Request, WebSocket
from starlette.responses import StreamingResponse

from tests import application
from tests.apps.runner import run

app = FastAPI()
HUGE = 32 * 1024 * 1024


@app.get("/hello")
async def hello() -> str:
    return "hello"


@app.post("/body")
async def body(request: Request) -> int:
    return len(await request.body())


@app.post("/model")
async def model(size: dict[str, str] = Body()) -> int:  # noqa: B008
    """FastAPI reads the body."""
    return len(size)


@app.post("/upload", max_body_size=8 * 1024 * 1024)
async def upload(request: Request) -> int:
    """More than the default is welcome."""
    return len(await request.body())


@app.post("/late")
async def late(request: Request, seconds: float) -> int:
    """The handler is slow, not the client."""
    await asyncio.sleep(seconds)
    return len(await request.body())


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slow"


@app.get("/huge")
async def huge() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(HUGE // 65536):
            yield b"x" * 65536

    return StreamingResponse(parts(), media_type="application/octet-stream")


app.get("/endless")(application.flood)  # never waits for anything but its client


@app.get("/events")
async def events() -> StreamingResponse:
    """More events than a client that does not read can take."""

    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "data: " + "x" * 65536 + "\n\n"
            await asyncio.sleep(0)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/quiet")
async def quiet() -> StreamingResponse:
    """An event, and one more after a while."""

    async def ticks() -> AsyncIterator[str]:
        yield "data: 1\n\n"
        await asyncio.sleep(4)
        yield "data: 2\n\n"

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@app.websocket("/flood")
async def flood(websocket: WebSocket) -> None:
    """More messages than a client that does not read can take."""
    await websocket.accept()
    while True:
        await websocket.send_text("x" * 65536)


if __name__ == "__main__":
    sys.exit(run(app))
