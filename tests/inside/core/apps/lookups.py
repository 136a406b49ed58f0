"""A route that gives up looking up a name; the lookup itself goes on, as nothing can cancel it."""

import asyncio
import contextlib
import sys

from fastapi import FastAPI

from tests.apps.runner import run

app = FastAPI()


@app.get("/look-up/{name}")
async def look_up(name: str) -> str:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await asyncio.get_running_loop().create_connection(asyncio.Protocol, name, 80)
    return "given up"


if __name__ == "__main__":
    sys.exit(run(app))
