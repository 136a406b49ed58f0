"""Components as the variable PARTS describes them, as JSON: name → how it behaves.

``needs`` names others; ``open`` and ``close`` are seconds, "hang", "raise", "block" (the
loop), or
"deaf" (does not let itself be cancelled). ``dies`` is after how many seconds work inside it
fails, once it is open.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import structlog
from fastapi import FastAPI

from app.lifecycle.components import Component
from tests.apps.runner import run

log = structlog.get_logger(__name__)


async def behave(how: float | str) -> None:
    if how == "raise":
        raise OSError("no route to host")
    if how == "block":
        time.sleep(3600)  # noqa: ASYNC251
    while how == "deaf":
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    await asyncio.sleep(3600 if isinstance(how, str) else how)


def component(name: str, how: dict[str, Any]) -> Component:
    async def die() -> None:
        await asyncio.sleep(how["dies"])
        raise ConnectionError("the broker is gone")

    @contextlib.asynccontextmanager
    async def opened(*needed: str) -> AsyncIterator[str]:
        log.info("opening", part=name, needed=list(needed))
        await behave(how.get("open", 0))
        log.info("opened", part=name)
        async with asyncio.TaskGroup() as inside:
            if "dies" in how:
                inside.create_task(die())
            yield name
        log.info("closing", part=name)
        await behave(how.get("close", 0))
        log.info("closed", part=name)

    return Component(
        name,
        opened,
        depends_on=tuple(how.get("needs", ())),
        start_timeout=how.get("start_timeout", 10.0),
        stop_timeout=how.get("stop_timeout"),
        level=how.get("level"),
    )


app = FastAPI()


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "slow"


if __name__ == "__main__":
    parts = json.loads(os.environ["PARTS"])
    sys.exit(run(app, [component(name, how) for name, how in parts.items()]))
