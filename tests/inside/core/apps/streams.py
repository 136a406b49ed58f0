"""Event streams and WebSockets whose handlers know nothing of a stop, and two that do."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Iterator

from fastapi import FastAPI, WebSocket
from fastapi.sse import EventSourceResponse
from sse_starlette import EventSourceResponse as SseStarletteResponse
from starlette.responses import StreamingResponse

from app.api.dependencies import Draining
from app.lifecycle.http.streams import with_heartbeat
from tests.apps.runner import run

app = FastAPI()
BEAT = 0.05


async def ticks() -> AsyncIterator[str]:
    for count in itertools.count():
        yield f"data: {count}\n\n"
        await asyncio.sleep(BEAT)


def ticks_in_thread() -> Iterator[str]:
    for count in itertools.count():
        yield f"data: {count}\n\n"
        time.sleep(BEAT)


@app.get("/starlette")
async def starlette() -> StreamingResponse:
    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/starlette-sync")
async def starlette_sync() -> StreamingResponse:
    return StreamingResponse(ticks_in_thread(), media_type="text/event-stream")


@app.get("/fastapi", response_class=EventSourceResponse)
async def fastapi() -> AsyncIterator[int]:
    for count in itertools.count():
        yield count
        await asyncio.sleep(BEAT)


@app.get("/fastapi-sync", response_class=EventSourceResponse)
def fastapi_sync() -> Iterator[int]:
    for count in itertools.count():
        yield count
        time.sleep(BEAT)


@app.get("/sse-starlette")
async def sse_starlette() -> SseStarletteResponse:
    async def events() -> AsyncIterator[dict[str, int]]:
        for count in itertools.count():
            yield {"data": count}
            await asyncio.sleep(BEAT)

    return SseStarletteResponse(events())


@app.get("/silent")
async def silent() -> StreamingResponse:
    """Waits for an event that does not come, and never looks at its client."""

    async def one() -> AsyncIterator[str]:
        yield "data: 0\n\n"
        await asyncio.Event().wait()

    return StreamingResponse(one(), media_type="text/event-stream")


@app.get("/heartbeat")
async def heartbeat(draining: Draining, seconds: float, says: str = "") -> StreamingResponse:
    """An event, then silence until its turn or for ever; with ``says`` it takes that or fails."""

    async def events() -> AsyncIterator[str]:
        yield "data: hello\n\n"
        if says == "error":
            raise LookupError("no more")
        if says == "end":
            return
        await (draining.turn() if says else asyncio.Event().wait())
        yield f"data: {says}\n\n"

    return StreamingResponse(with_heartbeat(events(), seconds), media_type="text/event-stream")


@app.get("/goodbye")
async def goodbye(draining: Draining) -> StreamingResponse:
    async def until_turn() -> AsyncIterator[str]:
        yield "data: hello\n\n"
        await draining.turn()
        yield "data: goodbye\n\n"

    return StreamingResponse(until_turn(), media_type="text/event-stream")


@app.get("/left")
async def left(draining: Draining) -> StreamingResponse:
    """The seconds that it has left, before and at its turn."""

    async def until_turn() -> AsyncIterator[str]:
        yield f"{draining.remaining()}"
        await draining.turn()
        yield f"{draining.remaining()}"

    return StreamingResponse(until_turn(), media_type="text/event-stream")


@app.get("/stubborn")
async def stubborn(draining: Draining) -> StreamingResponse:
    """Takes its turn and does not leave."""

    async def until_turn() -> AsyncIterator[str]:
        yield "data: hello\n\n"
        await draining.turn()
        while True:
            yield "data: still here\n\n"
            await asyncio.sleep(BEAT)

    return StreamingResponse(until_turn(), media_type="text/event-stream")


@app.websocket("/receives")
async def receives(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


@app.websocket("/sends")
async def sends(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text("tick")
        await asyncio.sleep(BEAT)


@app.websocket("/sleeps")
async def sleeps(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("good night")
    await asyncio.sleep(3600)


if __name__ == "__main__":
    sys.exit(run(app))
