"""Requests that end in every way that the metrics tell apart, and metrics of its own."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterator

from fastapi import APIRouter, BackgroundTasks, FastAPI, Request, Response, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Host, Mount, Route

from app.lifecycle.service import Service
from tests.apps.runner import run

app = FastAPI()
items = APIRouter(prefix="/items")


@items.get("/{number}")
@items.head("/{number}")
async def item(number: int) -> str:
    return "x" * number


@items.get("")
async def fail() -> str:
    raise LookupError("lost")


@app.post("/body")
async def body(request: Request) -> int:
    return len(await request.body())


@app.get("/status/{status}")
async def status(status: int) -> Response:
    return Response(status_code=status)


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slow"


@app.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    tasks.add_task(asyncio.sleep, 2)
    return "accepted"


@app.get("/events")
async def events() -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        for count in itertools.count():
            yield f"data: {count}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.websocket("/echo/{name}")
async def echo(websocket: WebSocket, name: str) -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())
    await websocket.close()


@app.get("/imported")
async def imported() -> bool:
    """Whether anything has imported the library of an owner's metrics."""
    return "prometheus_client" in sys.modules


@app.get("/count")
async def count() -> None:
    """What an owner writes, once and with an exemplar; and a collector that fails."""
    from prometheus_client import REGISTRY, Counter, Histogram, Metric
    from prometheus_client.registry import Collector

    Counter("orders", "Orders so far.", ["kind"]).labels("book").inc(2, {"trace_id": "ab" * 16})
    Histogram("cart_items", "Items in a cart.", buckets=(1, 5)).observe(3)

    class Broken(Collector):
        def describe(self) -> Iterator[Metric]:
            return iter(())

        def collect(self) -> Iterator[Metric]:
            raise ConnectionError("a secret")

    REGISTRY.register(Broken())


async def plain(request: StarletteRequest) -> PlainTextResponse:
    return PlainTextResponse("plain")


def with_every_kind_of_route() -> FastAPI:
    """Routes at every depth, of FastAPI and of Starlette."""
    whole = FastAPI()
    inner = APIRouter(prefix="/inner")
    inner.add_api_route("/{a}", plain_number)
    inner.add_api_websocket_route("/ws/{a}", echo_nothing)
    inner.add_route("/plain/{x}", plain)
    inner.mount("/mounted/{n}", Starlette(routes=[Route("/{q}", plain)]))
    outer = APIRouter(prefix="/outer/{o}")
    outer.include_router(inner)
    whole.include_router(outer)
    whole.add_api_route("/own/{a}", plain_number)
    whole.mount("/tenants/{tenant}", app)
    whole.mount("/app", Starlette(routes=[Route("/{q}", plain), Mount("/deep", app=app)]))
    whole.add_route("/plain/{x}", plain)
    hosted = Starlette(routes=[Route("/hosted/{x}", plain), Mount("/m", app=app)])
    whole.router.routes.append(Host("{name}.example.org", app=hosted))
    return whole


async def plain_number(a: int) -> int:
    return a


async def echo_nothing(websocket: WebSocket, a: int) -> None:
    await websocket.accept()
    await websocket.close()


app.include_router(items)


def prepare(service: Service) -> None:
    async def nothing() -> None:
        pass

    service.tasks.every(0.1, nothing, name="often")


if __name__ == "__main__":
    sys.exit(run(app, prepare=prepare))
