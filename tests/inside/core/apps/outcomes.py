"""Requests and WebSockets that end in every way there is, behind a middleware."""

import asyncio
import itertools
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog
from fastapi import FastAPI, HTTPException, Request, Response, WebSocket
from starlette.responses import StreamingResponse

from tests.apps.runner import run

log = structlog.get_logger(__name__)
app = FastAPI()


@app.middleware("http")
async def passes_on(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """Starlette's way of writing one; raises of its own when the request is cancelled."""
    return await call_next(request)


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slow"


@app.get("/fails-when-cut")
async def fails_when_cut() -> str:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError as error:
        raise LookupError("the connection is lost") from error
    return "slow"


@app.get("/tells")
async def tells(text: str) -> str:
    """Logs what a client has sent, in every place that there is."""
    log.warning(text, text=text, texts=[text])
    warnings.warn(text, stacklevel=1)
    try:
        raise LookupError(text)
    except LookupError:
        log.exception("failed")
    return "told"


@app.get("/prints")
async def prints() -> str:
    """Leaves a line in the buffer of ``sys.stdout``."""
    print("printed")
    return "printed"


class Unclosable:
    def __del__(self) -> None:
        raise LookupError("lost in a finalizer")


@app.get("/fails-elsewhere")
async def fails_elsewhere() -> str:
    """Raises in a thread and in a finalizer, where nobody can catch it."""

    def fail() -> None:
        raise LookupError("lost in a thread")

    thread = threading.Thread(target=fail, name="forgotten")
    thread.start()
    thread.join()
    Unclosable()
    return "failed"


@app.get("/events")
async def events() -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        for count in itertools.count():
            yield f"data: {count}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Echoes one message and closes, unless the client leaves before."""
    await websocket.accept()
    message = await websocket.receive()
    if "text" in message:
        await websocket.send_text(message["text"])
        await websocket.close()


@app.websocket("/closes")
async def closes(websocket: WebSocket) -> None:
    await websocket.close()


@app.websocket("/refuses")
async def refuses(websocket: WebSocket) -> None:
    raise HTTPException(401, "who are you?")


@app.websocket("/breaks")
async def breaks(websocket: WebSocket) -> None:
    raise LookupError("no such user")


@app.websocket("/thinks")
async def thinks(websocket: WebSocket) -> None:
    await asyncio.sleep(60)


if __name__ == "__main__":
    sys.exit(run(app))
