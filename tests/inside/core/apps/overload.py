"""An application that can do ten requests at a time, each of a tenth of a second."""

import asyncio
import sys
from collections.abc import AsyncIterator

from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

from tests.apps.runner import run

AT_ONCE = 10
SECONDS = 0.1

app = FastAPI()
workers = asyncio.Semaphore(AT_ONCE)


@app.api_route("/work", methods=["GET", "POST"])
async def work() -> str:
    async with workers:
        await asyncio.sleep(SECONDS)
    return "done"


@app.api_route("/hold", methods=["GET", "POST"])
async def hold(seconds: float = 60) -> str:
    """Hold a slot; no connection is left to say when to stop."""
    await asyncio.sleep(seconds)
    return "held"


@app.get("/events")
async def events() -> StreamingResponse:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"data: tick\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(endless(), media_type="text/event-stream")


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.receive_text()


if __name__ == "__main__":
    sys.exit(run(app))
