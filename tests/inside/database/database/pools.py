"""Pools of a test's own, and what their server says of them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sqlalchemy import text

from app.database.pool import Pool, open_pool
from app.database.settings import Database
from dev import postgres

#: Seconds for anything without its own limit, on a busy machine.
PATIENCE = 40.0


@contextlib.asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[Pool]:
    async with open_pool(Database.model_validate({"url": url, **settings})) as pool:
        yield pool


async def eventually(question: Callable[[], object], what: str) -> None:
    """Wait until the answer is true."""
    deadline = time.monotonic() + PATIENCE
    while not question():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for {what}"
        await asyncio.sleep(0.01)


async def number(pool: Pool, sql: str = "SELECT 1") -> Any:
    """The one value that a statement gives, in a transaction of its own."""
    async with pool.engine.begin() as connection:
        return (await connection.execute(text(sql))).scalar()


async def run(pool: Pool, sql: str) -> None:
    async with pool.engine.begin() as connection:
        await connection.execute(text(sql))


async def outcomes(*work: Awaitable[object]) -> list[str]:
    """Of each, the type of its error, or nothing."""
    done = await asyncio.gather(*work, return_exceptions=True)
    return [type(one).__name__ if isinstance(one, BaseException) else "" for one in done]


def sessions(url: str) -> int:
    """How many clients the server has in the database of ``url``, without the one that asks."""
    ((count,),) = postgres.query(
        url,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )
    return int(count)


def end_sessions(url: str) -> None:
    """End all of them on the server, as its administrator can."""
    postgres.query(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'",
    )


def count(pool: Pool, state: str) -> float:
    """How many connections the metrics say are ``idle`` or ``used``."""
    return metric(pool, "db_client_connection_count", db_client_connection_state=state)


def metric(pool: Pool, name: str, **labels: str) -> float:
    """The value of one sample of the pool's metrics."""
    for family in pool.families():
        for line in family.text(False).splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(
                f'{label}="{given}"' in sample for label, given in labels.items()
            ):
                return float(value)
    raise AssertionError(f"no metric {name} {labels}")
