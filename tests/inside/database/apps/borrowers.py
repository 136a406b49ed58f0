"""Handlers that borrow connections of the pool, and some that keep them."""

import asyncio
import contextlib
import sys
from typing import Any

from fastapi import FastAPI, Request
from sqlalchemy import text

from app import environment
from app.database.pool import Pool, open_pool
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from tests.apps.runner import run

app = FastAPI()
kept: list[Any] = []


def pool(request: Request) -> Pool:
    found: Pool = request.app.state.service.components["database"]
    return found


@app.get("/one")
async def one(request: Request) -> int:
    async with pool(request).engine.connect() as connection:
        return int((await connection.execute(text("SELECT 1"))).scalar_one())


@app.get("/hold")
async def hold(request: Request, seconds: float) -> float:
    async with pool(request).engine.connect() as connection:
        await connection.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
    return seconds


@app.get("/keep")
async def keep_for_ever(request: Request) -> str:
    kept.append(await pool(request).engine.connect())
    return "kept"


@app.get("/late")
async def late(request: Request, seconds: float) -> str:
    """Keep a connection in a task that nobody counts, for some seconds."""

    async def work() -> None:
        async with pool(request).engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(seconds)

    kept.append(asyncio.create_task(work(), name="late work"))
    await asyncio.sleep(0.1)
    return "begun"


if __name__ == "__main__":
    settings = environment.load().database

    def prepare(service: Service) -> None:
        service.checks.add(
            "database",
            lambda: service.components["database"].ping(),
            period=0.2,
            gating=settings.gating,
        )

    component = Component("database", lambda: open_pool(settings), stop_timeout=3)
    sys.exit(run(app, [component], prepare))
