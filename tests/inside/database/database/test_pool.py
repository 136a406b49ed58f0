"""Connections of the pool: how they are made, how long they live, who waits for one."""

import asyncio
from pathlib import Path

import pytest

from app.database.queue import PoolTimeoutError
from app.lifecycle.ports import StartError
from dev import postgres
from tests.database.pools import (
    count,
    end_sessions,
    eventually,
    metric,
    number,
    opened,
    outcomes,
    run,
    sessions,
)


def test_nothing_connects_before_somebody_needs_it(database: str) -> None:
    async def story() -> None:
        async with opened(database) as pool:
            assert sessions(database) == 0
            assert await number(pool) == 1
            assert sessions(database) == 1

    asyncio.run(story())
    assert sessions(database) == 0


def test_the_server_knows_the_pod_and_ends_what_takes_too_long(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "shop-7d9c-x2x")

    async def story() -> None:
        async with opened(database, statement_seconds=0.5) as pool:
            assert await number(pool, "SHOW application_name") == "shop-7d9c-x2x"
            assert await number(pool, "SHOW idle_session_timeout") == "10min"
            assert await number(pool, "SHOW client_connection_check_interval") == "2s"
            assert await number(pool, "SHOW idle_in_transaction_session_timeout") == "500ms"
            assert await outcomes(number(pool, "SELECT pg_sleep(30)")) == ["DBAPIError"]
            assert await number(pool) == 1

    asyncio.run(story())


def test_sessions_killed_while_idle_fail_no_request(database: str) -> None:
    async def story() -> None:
        async with opened(database, pool_size=5) as pool:
            held = [await pool.engine.connect() for _ in range(5)]
            for one in held:
                await one.close()
            assert sessions(database) == 5
            end_sessions(database)
            await eventually(lambda: pool.idle() == 0, "the pool to see that all are closed")
            assert await outcomes(*(number(pool) for _ in range(10))) == [""] * 10

    asyncio.run(story())


def test_the_server_ends_idle_sessions_and_the_next_request_connects(database: str) -> None:
    async def story() -> None:
        async with opened(database, idle_seconds=0.3) as pool:
            await number(pool)
            await eventually(lambda: pool.idle() == 0, "the server to end the session")
            assert sessions(database) == 0
            assert await number(pool) == 1

    asyncio.run(story())


def test_a_connection_is_replaced_at_the_end_of_its_life(database: str) -> None:
    async def story() -> None:
        async with opened(database, lifetime_seconds=1) as pool:
            first = await number(pool, "SELECT pg_backend_pid()")
            assert await number(pool, "SELECT pg_backend_pid()") == first
            await asyncio.sleep(1.1)
            assert await number(pool, "SELECT pg_backend_pid()") != first
            assert sessions(database) == 1

    asyncio.run(story())


def test_the_newest_connection_is_used_first_so_that_the_others_can_end(database: str) -> None:
    async def story() -> None:
        async with opened(database) as pool:
            held = [await pool.engine.connect() for _ in range(3)]
            for one in held:
                await one.close()
            pids = {await number(pool, "SELECT pg_backend_pid()") for _ in range(5)}
            assert len(pids) == 1

    asyncio.run(story())


def test_who_waits_in_vain_is_told_what_to_do(database: str) -> None:
    async def story() -> None:
        async with opened(database, pool_size=1, checkout_seconds=0.2) as pool:
            async with pool.engine.connect():
                with pytest.raises(PoolTimeoutError, match=r"all 1 connections .* for 0\.2 s"):
                    await number(pool)
                waiting = asyncio.create_task(number(pool))
                await eventually(
                    lambda: metric(pool, "db_client_connection_pending_requests") == 1,
                    "somebody to wait",
                )
            assert await waiting == 1
            assert metric(pool, "db_client_connection_pending_requests") == 0
            assert metric(pool, "db_client_connection_timeouts_total") == 1
            assert metric(pool, "db_client_connection_wait_time_seconds_count") == 3

    asyncio.run(story())


def test_who_waits_is_refused_at_once_when_the_pool_closes(database: str) -> None:
    async def story() -> None:
        async with opened(database, pool_size=1, checkout_seconds=30) as pool:
            async with pool.engine.connect():
                waiting = [asyncio.create_task(number(pool)) for _ in range(3)]
                await eventually(
                    lambda: metric(pool, "db_client_connection_pending_requests") == 3,
                    "three to wait",
                )
                closing = asyncio.create_task(pool.close())
                async with asyncio.timeout(20):
                    assert await outcomes(*waiting) == ["Unavailable"] * 3
                assert not closing.done(), "it waits for the one that has a connection"
            await closing
            assert await outcomes(number(pool)) == ["Unavailable"]
            assert sessions(database) == 0

    asyncio.run(story())


def test_a_connect_that_fails_lets_the_next_in_the_queue_try(database: str) -> None:
    """SQLAlchemy's own queue lets them wait for their whole timeout, beside a free slot."""
    nowhere = database.replace("127.0.0.1:", "127.0.0.9:")

    async def story() -> None:
        async with opened(nowhere, pool_size=1, checkout_seconds=30) as pool:
            async with asyncio.timeout(20):
                errors = await outcomes(*(number(pool) for _ in range(20)))
            assert "PoolTimeoutError" not in errors
            assert len(errors) == 20
            assert metric(pool, "app_database_connect_failures_total") >= 1
            assert count(pool, "idle") == 0

    asyncio.run(story())


def test_a_full_pool_is_no_dead_database(database: str) -> None:
    async def story() -> None:
        async with opened(database, pool_size=1, checkout_seconds=0.1) as pool:
            await pool.ping()
            async with pool.engine.connect():
                await pool.ping()
            assert sessions(database) == 1

    asyncio.run(story())


def test_a_rotated_password_needs_no_restart(database: str, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    name = "rotated"
    # The server trusts everybody, so what the pool sends is seen by the driver alone.
    postgres.query(database, f"DROP ROLE IF EXISTS {name}")
    secret.write_text("first\n")
    sent: list[str] = []

    async def story() -> None:
        async with opened(database, password_file=str(secret)) as pool:
            password = pool._connect._password

            def seen() -> str:
                sent.append(password())
                return sent[-1]

            pool._connect._password = seen  # type: ignore[method-assign]
            pool._connect._connect = pool._connect._asyncpg()
            await number(pool)
            secret.write_text("second\n")
            end_sessions(database)
            await eventually(lambda: pool.idle() == 0, "the pool to see that it is closed")
            await number(pool)

    asyncio.run(story())
    assert sent == ["first", "second"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": ""}, "APP_DATABASE__URL is not set"),
        ({"url": "postgresql://db/shop?sslmode=verify-full"}, "has no sslrootcert"),
        ({"url": "postgresql://db/shop?sslrootcert=/no.crt"}, "/no.crt, which is no file"),
        ({"password_file": "/nothing"}, "APP_DATABASE__PASSWORD_FILE=/nothing cannot be read"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(
    database: str, settings: dict[str, str], says: str
) -> None:
    async def story() -> None:
        async with opened(**{"url": database, **settings}):
            raise AssertionError("it opened")

    with pytest.raises(StartError) as refused:
        asyncio.run(story())
    assert says in str(refused.value)


def test_changes_of_the_pool_show_in_its_metrics(database: str) -> None:
    async def story() -> None:
        async with opened(database, pool_size=3) as pool:
            await run(pool, "CREATE TABLE t (n int)")
            async with pool.engine.connect(), pool.engine.connect():
                assert count(pool, "used") == 2
            assert count(pool, "idle") == 2
            assert metric(pool, "db_client_connection_max") == 3
            assert metric(pool, "db_client_connection_create_time_seconds_count") == 2
            assert metric(pool, "db_client_connection_use_time_seconds_count") == 3

    asyncio.run(story())
