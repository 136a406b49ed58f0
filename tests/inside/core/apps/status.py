"""Everything that a status can show: a graph, checks, tasks, secrets, hostile names."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel, Field, SecretStr
from starlette.responses import StreamingResponse

from app import environment, wiring
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals
from app.settings import Settings

#: A name that breaks what does not escape it.
HOSTILE = "</title><script>broken()</script>\"'&\u202e\x00"

#: What each component needs.
NEEDS = {
    "settings store": (),
    "database": ("settings store",),
    "cache": (),
    "http client": (),
    "tracing": (),
    "queue": ("database",),
    "object storage": ("http client",),
    "search index with a long name": ("http client", "settings store"),
    "outbox": ("database", "queue"),
    "thumbnails": ("object storage", "cache"),
    "mailer": ("queue", "settings store"),
    "reports": ("database", "search index with a long name", "thumbnails"),
}

app = FastAPI()
router = APIRouter(prefix="/orders/{customer}")


@router.get("/items/{item}")
async def item(customer: str, item: str, seconds: float = 0) -> str:
    await asyncio.sleep(seconds)
    return f"{customer} {item}"


@app.get("/block")
async def block(seconds: float) -> str:
    import time

    time.sleep(seconds)  # noqa: ASYNC251
    return "block"


@app.get("/events")
async def events() -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        while True:
            yield "data: tick\n\n"
            await asyncio.sleep(0.5)

    return StreamingResponse(ticks(), media_type="text/event-stream")


app.include_router(router, prefix="/v1")


class Broker(BaseModel):
    url: str = "amqp://guest:hunter2@broker:5672/one"
    password: str = "hunter2"


class OwnSettings(Settings):
    """Settings of an owner who is not careful."""

    database_url: str = "postgresql://app:hunter2@db.internal/orders?sslmode=verify-full"
    stripe_key: SecretStr = SecretStr("hunter2")
    api_token: str = "hunter2"
    broker: Broker = Broker()
    replicas: tuple[str, ...] = ("https://:hunter2@a.test", "https://b.test?token=hunter2&x=1")
    headers: dict[str, str] = Field(default={"x-api-key": "hunter2", "x-tenant": HOSTILE})
    greeting: str = HOSTILE


def component(name: str, needs: tuple[str, ...]) -> Component:
    @contextlib.asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[str]:
        await asyncio.sleep(len(name) / 200)
        yield name
        await asyncio.sleep(float(os.environ.get("SECONDS_TO_CLOSE", "0")))

    return Component(name, opened, depends_on=needs, stop_timeout=20)


async def passes() -> None:
    await asyncio.sleep(0.002)


async def fails() -> None:
    raise ConnectionError("hunter2")


def main() -> int:
    signals = Signals()
    signals.install()
    settings = environment.load()
    options = replace(wiring.options(settings), settings=OwnSettings())
    components = [component(name, needs) for name, needs in NEEDS.items()]
    service = Service(app, options, components=components)
    service.checks.add("database", passes, period=2)
    service.checks.add(HOSTILE, fails, period=2)
    service.tasks.every(0.3, passes, name="refresh the cache")
    service.tasks.every(3600, passes, name=HOSTILE)
    service.tasks.every(0.5, fails, name="sync")
    service.tasks.every(1, lambda: asyncio.sleep(0.5), name="backup")
    wiring.configure_logging(service, settings)
    return service.run(signals)


if __name__ == "__main__":
    sys.exit(main())
