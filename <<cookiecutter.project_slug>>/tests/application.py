"""An application for the tests: a route of each kind, two components, a check and tasks."""

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import AsyncIterator

import structlog
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket
from starlette.responses import StreamingResponse

from app import environment, wiring
from app.api.dependencies import Draining
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals

app = FastAPI()
log = structlog.get_logger(__name__)
failing: set[str] = set()


@app.get("/hello")
async def hello() -> str:
    return "hello"


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slow"


@app.get("/thread")
def thread(seconds: float) -> str:
    time.sleep(seconds)
    return "thread"


@app.get("/block")
async def block(seconds: float) -> str:
    """Block the event loop."""
    time.sleep(seconds)  # noqa: ASYNC251
    return "block"


@app.get("/fail")
async def fail() -> str:
    raise LookupError("a secret")


@app.get("/background")
async def background(tasks: BackgroundTasks, seconds: float) -> str:
    tasks.add_task(asyncio.sleep, seconds)
    return "accepted"


@app.post("/body")
async def body(request: Request) -> int:
    return len(await request.body())


@app.post("/upload", max_body_size=4 * 1024 * 1024)
async def upload(request: Request) -> int:
    return len(await request.body())


@app.get("/flood")
async def flood() -> StreamingResponse:
    """More than any buffer takes."""

    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    return StreamingResponse(parts(), media_type="application/octet-stream")


@app.get("/events")
async def events() -> StreamingResponse:
    """A stream that knows nothing of a stop."""

    async def ticks() -> AsyncIterator[str]:
        for count in itertools.count():
            yield f"data: {count}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.get("/goodbye")
async def goodbye(draining: Draining) -> StreamingResponse:
    """A stream that says goodbye."""

    async def until_the_drain() -> AsyncIterator[str]:
        yield "data: hello\n\n"
        await draining.turn()
        yield "data: goodbye\n\n"

    return StreamingResponse(until_the_drain(), media_type="text/event-stream")


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


@app.get("/check/{state}")
async def check(state: str) -> str:
    """Let the gating check pass or fail."""
    (failing.clear if state == "pass" else lambda: failing.add(state))()
    return state


@app.get("/spawn")
async def spawn(seconds: float) -> str:
    """Start a task that outlives the request."""
    app.state.service.tasks.spawn(asyncio.sleep(seconds), name="nap")
    return "spawned"


async def gate() -> None:
    if failing:
        raise ConnectionError("a secret")


async def refresh() -> None:
    log.info("refreshed")


def component(name: str, *needs: str) -> Component:
    """A component that logs, and closes for SECONDS_TO_CLOSE seconds."""

    @contextlib.asynccontextmanager
    async def opened(*_: str) -> AsyncIterator[str]:
        log.info("opened", component=name)
        yield name
        await asyncio.sleep(float(os.environ.get("SECONDS_TO_CLOSE", "0")))
        log.info("closed", component=name)

    return Component(name, opened, depends_on=needs)


def main() -> int:
    """Do what ``app/__main__.py`` and ``app/main.py`` do."""
    signals = Signals()
    signals.install()
    settings = environment.load()
    components = [component("queue", "database"), component("database")]
    service = Service(app, wiring.options(settings), components=components)
    service.checks.add("gate", gate, period=0.1, timeout=1, gating=True)
    service.tasks.every(0.2, refresh, name="refresh")
    app.state.service = service
    wiring.configure_logging(service, settings)
    return service.run(signals)


if __name__ == "__main__":
    sys.exit(main())
