"""Handlers whose clients go away, do not read, or are never listened to."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any

import structlog
from fastapi import FastAPI, Request, WebSocket
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.lifecycle import deadline
from tests.apps.runner import run

log = structlog.get_logger(__name__)
app = FastAPI()
BEAT = 0.05
LUMP = 64 * 1024


@contextlib.contextmanager
def told_of_the_end() -> Iterator[None]:
    try:
        yield
    finally:
        log.info("client gone")


@app.get("/polls")
@deadline.finishes
async def polls(request: Request) -> str:
    while True:
        if await request.is_disconnected():
            log.info("client gone")
            return "nobody reads this"
        await asyncio.sleep(BEAT)


@app.get("/polls-stream")
async def polls_stream(request: Request) -> StreamingResponse:
    async def until_gone() -> AsyncIterator[str]:
        with told_of_the_end():
            while not await request.is_disconnected():
                yield "data: still here\n\n"
                await asyncio.sleep(BEAT)

    return StreamingResponse(until_gone(), media_type="text/event-stream")


async def watched(step: Awaitable[Any]) -> Any:
    """Say so when ``step`` has to wait for the client to read."""
    late = asyncio.get_running_loop().call_later(0.3, log.info, "client does not read")
    try:
        return await step
    finally:
        late.cancel()


@app.websocket("/flood")
async def flood(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await watched(websocket.send_bytes(bytes(LUMP)))


async def flood_of_events(scope: Scope, receive: Receive, send: Send) -> None:
    """A StreamingResponse whose sending is watched."""

    async def watched_send(message: Any) -> None:
        await watched(send(message))

    async def lumps() -> AsyncIterator[bytes]:
        while True:
            yield b"data: " + b"x" * LUMP + b"\n\n"
            await asyncio.sleep(0)

    response = StreamingResponse(lumps(), media_type="text/event-stream")
    await response(scope, receive, watched_send)


async def unheard(_scope: Scope, _receive: Receive, send: Send) -> None:
    """An event stream that never asks what its client does: plain ASGI without ``receive``."""
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        await send({"type": "http.response.body", "body": b"data: 0\n\n", "more_body": True})
        await asyncio.sleep(BEAT)


@app.get("/big")
async def big(mebibytes: int) -> Response:
    """In one piece: the handler is done long before its client is."""
    return Response(bytes(mebibytes * 1024 * 1024))


app.mount("/flood-of-events", flood_of_events)
app.mount("/unheard", unheard)

if __name__ == "__main__":
    sys.exit(run(app))
