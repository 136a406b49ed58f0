"""Streams of records whose handlers know nothing of a stop, and some that do."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Iterator

from fastapi import FastAPI
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.api.dependencies import Draining, Finite
from tests.apps.runner import run

app = FastAPI()
compressed = FastAPI()
compressed.add_middleware(GZipMiddleware, minimum_size=1)
app.mount("/compressed", compressed)
wrapped = FastAPI()
wrapped.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
app.mount("/wrapped", wrapped)
BEAT = 0.05
LINES = "application/x-ndjson"


async def pieces(*pieces: bytes, beat: float = BEAT) -> AsyncIterator[bytes]:
    """Each piece a chunk of its own, over and over."""
    for piece in itertools.cycle(pieces):
        yield piece
        await asyncio.sleep(beat)


@app.get("/fastapi")
async def fastapi() -> AsyncIterator[dict[str, int]]:
    for count in itertools.count():
        yield {"count": count}
        await asyncio.sleep(BEAT)


@app.get("/fastapi-sync")
def fastapi_sync() -> Iterator[dict[str, int]]:
    for count in itertools.count():
        yield {"count": count}
        time.sleep(BEAT)


@app.get("/lines")
@compressed.get("/lines")
async def lines() -> StreamingResponse:
    return StreamingResponse(pieces(b'{"count": 1}\n'), media_type=LINES)


@app.get("/halves")
@wrapped.get("/halves")
async def halves() -> StreamingResponse:
    return StreamingResponse(pieces(b'{"cou', b'nt": 1}\n{"coun', b't": 2}\n'), media_type=LINES)


@app.get("/sequence")
async def sequence() -> StreamingResponse:
    """Cuts each record, which has a line feed inside, in the middle."""
    chunks = pieces(b'\x1e{"count"', b':\n1}\n\x1e{"co', b'unt": 2}\n')
    return StreamingResponse(chunks, media_type="application/json-seq")


@app.get("/parts")
async def parts() -> StreamingResponse:
    part = b"--frame\r\nContent-Type: text/plain\r\n\r\n", b"12345", b"67890\r\n"
    return StreamingResponse(pieces(*part), media_type="multipart/x-mixed-replace; boundary=frame")


async def raw(scope: Scope, receive: Receive, send: Send) -> None:
    """Never looks at its client."""
    headers = ((b"content-type", LINES.encode()),)
    await send({"type": "http.response.start", "status": 200, "headers": iter(headers)})
    async for piece in pieces(b'{"count"', b": 1}\n"):
        await send({"type": "http.response.body", "body": piece, "more_body": True})


app.mount("/raw", raw)


@app.get("/silent")
async def silent() -> StreamingResponse:
    async def one() -> AsyncIterator[bytes]:
        yield b'{"count": 1}\n'
        await asyncio.Event().wait()

    return StreamingResponse(one(), media_type=LINES)


@app.get("/stuck")
async def stuck() -> StreamingResponse:
    """Never completes its record."""

    async def half() -> AsyncIterator[bytes]:
        yield b'{"count": 1}\n{"cou'
        await asyncio.Event().wait()

    return StreamingResponse(half(), media_type=LINES)


@app.get("/goodbye")
async def goodbye(draining: Draining) -> AsyncIterator[dict[str, str]]:
    yield {"say": "hello"}
    await draining.turn()
    yield {"say": "goodbye"}


@app.get("/finite", dependencies=[Finite])
async def finite(count: int) -> AsyncIterator[dict[str, int]]:
    for number in range(count):
        yield {"count": number}
        await asyncio.sleep(BEAT)


@app.get("/length")
async def length() -> StreamingResponse:
    """Slow, but it says how long it is."""
    chunks = itertools.repeat(b'{"count": 1}\n', 20)

    async def slow() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
            await asyncio.sleep(BEAT)

    return StreamingResponse(slow(), media_type=LINES, headers={"content-length": str(20 * 13)})


@app.get("/endless")
async def endless() -> StreamingResponse:
    return StreamingResponse(pieces(b"bytes"), media_type="application/octet-stream")


if __name__ == "__main__":
    sys.exit(run(app))
