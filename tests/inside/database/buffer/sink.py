"""The service with a buffer, what reached its table, and a disk without room."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import asyncpg

from tests.harness import Service

APP = "tests.apps.buffered"


def sql(url: str, statement: str) -> list[Any]:
    async def run() -> list[Any]:
        connection = await asyncpg.connect(url)
        try:
            return list(await connection.fetch(statement))
        finally:
            await connection.close()

    return asyncio.run(run())


def sunk(url: str) -> list[int]:
    """The numbers that are in the table."""
    return [json.loads(row["item"])["number"] for row in sql(url, "SELECT item FROM sunk")]


def post(service: Service, path: str) -> int:
    with service.connect() as connection:
        return connection.post(path, b"").status


def state(service: Service) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(service.get("/status").body)
    return answer


def fill(disk: Path) -> Path:
    """Use up all of its space; the file to remove for more."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return filler
