"""Handlers that call others, start tasks and fail, each within a trace."""

import os
import sys
from functools import cache

import structlog
from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, Request, WebSocket
from opentelemetry import baggage, trace

from app.lifecycle import deadline
from app.lifecycle.service import Service
from app.observability.outgoing import AsyncClient
from tests.apps.runner import run

log = structlog.get_logger(__name__)
app = FastAPI()
inner = FastAPI()
router = APIRouter(prefix="/things")


@cache
def client() -> AsyncClient:
    hooks = {"request": [deadline.propagate]}
    return AsyncClient(base_url=os.environ["NEXT"], event_hooks=hooks)


@router.get("/{name}")
async def thing(name: str) -> str:
    log.info("a thing", name=name)
    return name


@inner.get("/deep/{name}")
async def deep(name: str) -> str:
    return name


@app.get("/told")
async def told(request: Request) -> dict[str, str]:
    names = ("traceparent", "tracestate", "baggage", "x-request-id", "x-request-timeout")
    return {name: request.headers[name] for name in names if name in request.headers}


@app.get("/call")
async def call(path: str) -> object:
    with trace.get_tracer("own").start_as_current_span("prepare"):
        log.info("prepared", tenant=baggage.get_baggage("tenant"))
    response = await client().get(path)
    return response.json()


@app.get("/call-nobody")
async def call_nobody() -> str:
    await client().get("http://127.0.0.1:1/secret?token=hidden")
    return "unreachable"


@app.get("/fail")
async def fail() -> str:
    raise LookupError("password=hunter2")


@app.get("/teapot")
async def teapot() -> str:
    raise HTTPException(418)


@app.get("/later")
async def later(tasks: BackgroundTasks) -> str:
    tasks.add_task(say, "done in the background")
    return "later"


@app.get("/spawn")
async def spawn(error: str = "") -> str:
    service: Service = app.state.service
    service.tasks.spawn(say("spawned", error), name="spawned")
    return "spawned"


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


async def say(what: str, error: str = "") -> None:
    log.info(what)
    if error:
        raise LookupError(error)


app.include_router(router)
app.mount("/inner", inner)


def prepare(service: Service) -> None:
    if "PERIODIC" in os.environ:
        service.tasks.every(0.05, lambda: say("a round"), name="rounds")


if __name__ == "__main__":
    sys.exit(run(app, prepare=prepare))
