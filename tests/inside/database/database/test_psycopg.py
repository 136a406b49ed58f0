"""The other driver, for owners who install it: postgresql+psycopg://."""

import asyncio
import importlib.util

import pytest

from app.database.engine import connector
from app.database.settings import Database
from app.lifecycle.ports import StartError
from tests.database.pools import (
    count,
    end_sessions,
    metric,
    number,
    opened,
    outcomes,
    run,
    sessions,
)

installed = pytest.mark.skipif(
    not importlib.util.find_spec("psycopg"), reason="psycopg is not installed"
)


@installed
def test_killed_sessions_fail_no_request(database: str) -> None:
    async def story() -> None:
        url = database.replace("postgresql:", "postgresql+psycopg:")
        async with opened(url, pool_size=3) as pool:
            await run(pool, "CREATE TABLE t (n int)")
            held = [await pool.engine.connect() for _ in range(3)]
            for one in held:
                await one.close()
            assert count(pool, "idle") == 3
            end_sessions(database)
            assert await outcomes(*(number(pool) for _ in range(10))) == [""] * 10
            assert await number(pool, "SHOW statement_timeout") == "1min"
            async with pool.engine.connect() as connection:
                await connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            assert metric(pool, "app_database_dirty_returns_total") == 1
            await pool.ping()
        assert sessions(database) == 0

    asyncio.run(story())


def test_where_it_is_missing_the_start_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(StartError, match="uv add 'psycopg"):
        connector(Database.model_validate({"url": "postgresql+psycopg://db/shop"}))
