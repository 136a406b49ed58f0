"""Connections that are held for long, never returned, or returned with changes not committed."""

import asyncio
import gc
import warnings
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from tests.database.pools import count, eventually, metric, number, opened, run

Lines = list[Any]


def of(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]


def test_a_connection_that_is_held_for_long_is_logged_once_with_who_took_it(database: str) -> None:
    async def takes_and_keeps(pool: Any) -> AsyncConnection:
        connection: AsyncConnection = await pool.engine.connect()
        return connection

    async def story() -> Lines:
        async with opened(database, leak_seconds=0.2) as pool:
            with capture_logs() as lines:
                await number(pool)
                connection = await takes_and_keeps(pool)
                await eventually(lambda: of(lines, "connection held for long"), "the log")
                await asyncio.sleep(0.5)
                await connection.close()
            assert metric(pool, "app_database_connections_leaked_total") == 1
            return lines

    (line,) = of(asyncio.run(story()), "connection held for long")
    assert line["seconds"] >= 0.2
    assert line["task"].startswith("Task-")
    assert line["where"][-1].endswith("in takes_and_keeps"), line
    assert not any("/sqlalchemy/" in one for one in line["where"])


def test_a_connection_that_nobody_returns_is_counted_and_its_place_is_free(database: str) -> None:
    async def story() -> Lines:
        async with opened(database, pool_size=1, checkout_seconds=5) as pool:
            with capture_logs() as lines, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                connection = await pool.engine.connect()
                assert connection
                del connection
                gc.collect()
                assert await number(pool) == 1
            assert metric(pool, "app_database_connections_leaked_total") == 1
            assert count(pool, "used") == 0
            return lines

    assert of(asyncio.run(story()), "connection was never returned")


CREATE = "CREATE TABLE t (n int)"
INSERT = text("INSERT INTO t VALUES (1)")


async def forgets_to_commit(pool: Any) -> None:
    async with pool.sessions() as session:
        await session.execute(INSERT)


async def closes_without_commit(pool: Any) -> None:
    session = pool.sessions()
    await session.execute(INSERT)
    await session.close()


async def a_connection_without_commit(pool: Any) -> None:
    async with pool.engine.connect() as connection:
        await connection.execute(INSERT)


async def a_transaction_of_the_driver(pool: Any) -> None:
    async with pool.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        await raw.execute("BEGIN")
        await raw.execute("INSERT INTO t VALUES (1)")


@pytest.mark.parametrize(
    "work",
    [
        forgets_to_commit,
        closes_without_commit,
        a_connection_without_commit,
        a_transaction_of_the_driver,
    ],
)
def test_lost_changes_are_logged_and_counted(database: str, work: Any) -> None:
    async def story() -> Lines:
        async with opened(database, pool_size=1) as pool:
            await run(pool, CREATE)
            with capture_logs() as lines:
                await work(pool)
            assert metric(pool, "app_database_dirty_returns_total") == 1
            assert await number(pool, "SELECT count(*) FROM t") == 0
            return lines

    (line,) = of(asyncio.run(story()), "changes were rolled back")
    assert any(one.endswith(f"in {work.__name__}") for one in line["where"]), line


async def commits(pool: Any) -> None:
    async with pool.sessions() as session, session.begin():
        await session.execute(INSERT)


async def reads_without_commit(pool: Any) -> None:
    async with pool.sessions() as session:
        await session.execute(text("SELECT * FROM t"))


async def rolls_back(pool: Any) -> None:
    async with pool.sessions() as session:
        await session.execute(INSERT)
        await session.rollback()


async def fails(pool: Any) -> None:
    session = pool.sessions()
    try:
        async with pool.sessions() as inner:
            await inner.execute(INSERT)
            raise KeyError
    except KeyError:
        pass
    try:
        await session.execute(INSERT)
        raise KeyError
    except KeyError:
        await session.close()


async def commits_then_reads(pool: Any) -> None:
    async with pool.engine.connect() as connection:
        await connection.execute(INSERT)
        await connection.commit()
        await connection.execute(text("SELECT * FROM t"))


@pytest.mark.parametrize(
    "work", [commits, reads_without_commit, rolls_back, fails, commits_then_reads]
)
def test_what_loses_nothing_by_mistake_is_not_logged(database: str, work: Any) -> None:
    async def story() -> Lines:
        async with opened(database) as pool:
            await run(pool, CREATE)
            with capture_logs() as lines:
                await work(pool)
            assert metric(pool, "app_database_dirty_returns_total") == 0
            return lines

    assert not of(asyncio.run(story()), "changes were rolled back")
