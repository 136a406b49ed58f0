"""``python -m benchmarks.abused [lifecycle]``: routes to abuse, on uvicorn as it comes or in the lifecycle."""

import os
import sys
from collections.abc import AsyncIterator

import uvicorn
from app import environment, wiring
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse

routes = FastAPI()


@routes.get("/hello")
async def hello() -> str:
    return "hello"


@routes.post("/body")
async def body(request: Request) -> int:
    return len(await request.body())


@routes.get("/flood")
async def flood() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    return StreamingResponse(parts(), media_type="application/octet-stream")


def lifecycle() -> int:
    """Run as the project's app/main.py does it."""
    signals = Signals()
    signals.install()
    settings = environment.load()
    service = Service(routes, wiring.options(settings))
    wiring.configure_logging(service, settings)
    return int(service.run(signals))


if __name__ == "__main__":
    if sys.argv[1:] == ["lifecycle"]:
        sys.exit(lifecycle())
    port = int(os.environ["APP_PORT"])
    uvicorn.run(routes, host="127.0.0.1", port=port, loop="uvloop", http="httptools", access_log=False)
