"""A lifespan of the application's own; the variable LIFESPAN says what is wrong with it.

Components are those of ``parts``, where PARTS describes some.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator

import structlog
from fastapi import FastAPI

from app.lifecycle.asgi import App, Receive, Scope, Send
from tests.apps.parts import component
from tests.apps.runner import run

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    what = os.environ["LIFESPAN"]
    log.info("lifespan", step="starts")
    if what == "fails":
        raise LookupError("no such model")
    if what == "dies":
        async with asyncio.TaskGroup() as group:
            group.create_task(_die())
            yield
        return
    if what == "starts for ever":
        await asyncio.sleep(3600)
    yield
    log.info("lifespan", step="ends")
    if what == "ends for ever":
        await asyncio.sleep(3600)


async def _die() -> None:
    await asyncio.sleep(1)
    raise LookupError("the connection is lost")


class Around:
    """A middleware that does with the lifespan what the variable says."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            if os.environ["LIFESPAN"] == "is broken":
                raise LookupError("no such middleware")
            if os.environ["LIFESPAN"] == "is ignored":
                return
        await self._app(scope, receive, send)


class Application(FastAPI):
    """An application whose outermost middleware is not FastAPI's own."""

    def build_middleware_stack(self) -> App:
        return Around(super().build_middleware_stack())


if __name__ == "__main__":
    parts = json.loads(os.environ.get("PARTS", "{}"))
    components = [component(name, how) for name, how in parts.items()]
    sys.exit(run(Application(lifespan=lifespan), components))
