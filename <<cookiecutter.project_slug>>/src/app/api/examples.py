"""One route of each kind, to copy. Then delete this file and its line in ``main.py``."""

import asyncio
import os
import time
import uuid
from collections.abc import AsyncIterator
from functools import cache
from typing import TYPE_CHECKING, Annotated

import structlog
from fastapi import APIRouter, BackgroundTasks, HTTPException, Query, Request, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field
from starlette.websockets import WebSocketDisconnect

from app.api.dependencies import Draining
from app.lifecycle import deadline

if TYPE_CHECKING:
    import httpx2

router = APIRouter(tags=["examples"])
log = structlog.get_logger(__name__)

Seconds = Annotated[float, Query(ge=0, le=60)]


class Job(BaseModel):
    """Work that continues after the response."""

    seconds: float = Field(default=0.5, ge=0, le=60)
    note: str = ""


_jobs: dict[str, str] = {}


@router.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "hello"}


@router.get("/slow")
async def slow(seconds: Seconds = 1) -> dict[str, float]:
    await asyncio.sleep(seconds)
    return {"slept": seconds}


@router.get("/relay")
@deadline.timeout(10)
async def relay(request: Request, seconds: Seconds = 1) -> dict[str, float]:
    """Call /slow with the rest of the time of this request."""
    import httpx2  # not above: it would cost each start 75 ms, and only this example needs it

    client = _client(request.app.state.settings.port)
    try:
        response = await client.get("/slow", params={"seconds": seconds})
        slept: dict[str, float] = response.raise_for_status().json()
    except httpx2.HTTPError as error:
        deadline.raise_if_expired()
        raise HTTPException(502, "the called service has failed") from error
    return slept


@cache
def _client(port: int) -> "httpx2.AsyncClient":
    """Made once, which takes 0.2 s. docs/requests.md has one that opens with the service."""
#% if cookiecutter.tracing == "opentelemetry"
    from app.observability.outgoing import AsyncClient

#% else
    from httpx2 import AsyncClient

#% endif
    hooks = {"request": [deadline.propagate]}
    return AsyncClient(base_url=f"http://127.0.0.1:{port}", event_hooks=hooks)


@router.get("/lines")
async def lines(count: Annotated[int, Query(ge=1, le=1_000_000)] = 1000) -> StreamingResponse:
    """A response that is made while it is sent, no faster than the client reads."""

    async def made() -> AsyncIterator[str]:
        for first in range(0, count, 1000):
            yield "".join(f"{n:079}\n" for n in range(first, min(first + 1000, count)))

    return StreamingResponse(made(), media_type="text/plain")


@router.get("/events", response_class=EventSourceResponse)
async def events(draining: Draining) -> AsyncIterator[ServerSentEvent]:
    """One event per second, and a last one that asks the client to reconnect."""
    goodbye = asyncio.create_task(draining.turn())
    try:
        count = 0
        while not goodbye.done():
            yield ServerSentEvent(event="tick", data=count)
            count += 1
            await asyncio.wait({goodbye}, timeout=1)
        yield ServerSentEvent(event="goodbye", data=count, retry=1000)
    finally:
        goodbye.cancel()


@router.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Needs no code for the stop: the client gets close code 1012."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


@router.post("/jobs", status_code=202)
async def start_job(job: Job, background: BackgroundTasks) -> dict[str, str]:
    """Background work counts as in flight: the drain waits for it."""
    job_id = uuid.uuid4().hex
    _jobs[job_id] = "running"
    background.add_task(_work, job_id, job.seconds)
    return {"id": job_id}


@router.get("/jobs/{job_id}")
async def show_job(job_id: str) -> dict[str, str]:
    if job_id not in _jobs:
        raise HTTPException(404, "no such job on this pod")
    return {"id": job_id, "state": _jobs[job_id]}


async def _work(job_id: str, seconds: float) -> None:
    await asyncio.sleep(seconds)
    _jobs[job_id] = "done"
    log.info("job done", job_id=job_id)


#% if cookiecutter.leader_election == "yes"
async def take_stock() -> None:
    """Runs on one pod at a time: ``main.py`` makes it a singleton."""
    log.info("only the leader logs this")


#% endif
@router.get("/block")
async def block(seconds: Seconds = 1) -> dict[str, float]:
    """Block the event loop, to see how the probes react."""
    if os.environ.get("EXAMPLES_FAULTS") != "true":
        raise HTTPException(404, "set EXAMPLES_FAULTS=true to enable this route")
    time.sleep(seconds)  # noqa: ASYNC251
    return {"blocked": seconds}
