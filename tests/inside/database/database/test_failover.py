"""A database that moves to another server: its name leads there, old connections do not."""

import asyncio
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dev import postgres
from tests.database.names import a_name
from tests.database.pools import eventually, metric, number, opened, outcomes, run, sessions
from tests.harness import eventually as soon
from tests.harness import free_port


@pytest.fixture
def primary() -> Iterator[str]:
    with postgres.server("wal_level=replica", "max_wal_senders=4") as url:
        postgres.query(url, "CREATE TABLE t (n int)")
        yield url


@pytest.fixture
def standby(primary: str) -> Iterator[str]:
    """A server that follows the primary."""
    programs, user, port = postgres._programs(), postgres._user(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="standby-"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    postgres._run([programs / "pg_basebackup", "-d", primary, "-D", data, "-R", "-c", "fast"], user)
    command: list[str | Path] = [programs / "postgres", "-D", data, "-p", str(port)]
    for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories="):
        command += ["-c", setting]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, user=user, cwd=folder, stdout=log, stderr=log, process_group=0
        )
    try:
        ask: list[str | Path] = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        soon(lambda: subprocess.run(ask).returncode == 0, "the standby to take connections")
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(40)
        shutil.rmtree(folder)


INSERT = "INSERT INTO t VALUES (1)"


def test_connections_to_a_server_that_became_read_only_are_dropped(
    primary: str, standby: str
) -> None:
    async def story() -> None:
        async with a_name() as name:
            name.move_to(primary)
            async with opened(name.url(), pool_size=4) as pool:
                held = [await pool.engine.connect() for _ in range(4)]
                for one in held[1:]:
                    await one.close()
                postgres.query(primary, "ALTER SYSTEM SET default_transaction_read_only = on")
                postgres.query(primary, "SELECT pg_reload_conf()")
                postgres.query(standby, "SELECT pg_promote()")
                name.move_to(standby)
                with capture_logs() as lines:
                    errors = await outcomes(run(pool, INSERT))
                    assert errors != [""], "the first one finds out"
                    assert await outcomes(*(run(pool, INSERT) for _ in range(8))) == [""] * 8
                    await held[0].close()
                    assert await outcomes(*(run(pool, INSERT) for _ in range(8))) == [""] * 8
                dropped = [one for one in lines if one["event"] == "database connections dropped"]
                assert len(dropped) == 1
                assert dropped[0]["reason"] == "the server is read-only (25006)"
                assert await number(pool, "SELECT count(*) FROM t") == 16
                assert metric(pool, "app_database_connections_dropped_total") == 3
                await eventually(lambda: sessions(primary) == 0, "the old server to be left")

    asyncio.run(story())


def test_a_write_in_a_transaction_that_only_reads_drops_nothing(database: str) -> None:
    async def story() -> None:
        async with opened(database) as pool:
            await run(pool, "CREATE TABLE t (n int)")
            pid = await number(pool, "SELECT pg_backend_pid()")
            only_reads = pool.engine.execution_options(postgresql_readonly=True)
            async with only_reads.connect() as connection:
                assert await outcomes(connection.exec_driver_sql(INSERT)) == ["DBAPIError"]
            assert await number(pool, "SELECT pg_backend_pid()") == pid
            assert metric(pool, "app_database_connections_dropped_total") == 0

    asyncio.run(story())


def test_a_dead_primary_is_left_for_the_promoted_standby(primary: str, standby: str) -> None:
    """Connections that hang in the old server's network would be found out by their timeouts."""

    async def story() -> None:
        async with a_name() as name:
            name.move_to(primary)
            async with opened(name.url(), pool_size=4) as pool:
                held = [await pool.engine.connect() for _ in range(4)]
                for one in held:
                    await one.close()
                ((data,),) = postgres.query(primary, "SHOW data_directory")
                programs, user = postgres._programs(), postgres._user()
                await asyncio.to_thread(
                    postgres._run,
                    [programs / "pg_ctl", "-D", data, "-m", "immediate", "stop"],
                    user,
                )
                postgres.query(standby, "SELECT pg_promote()")
                name.move_to(standby)
                assert await outcomes(*(run(pool, INSERT) for _ in range(8))) == [""] * 8
                assert await number(pool, "SELECT count(*) FROM t") == 8

    asyncio.run(story())


def test_only_a_server_that_takes_writes_is_connected_to_where_that_is_asked(
    primary: str, standby: str
) -> None:
    async def story() -> None:
        async with a_name() as one, a_name() as two:
            one.move_to(standby)
            two.move_to(primary)
            url = f"postgresql://postgres@127.0.0.1:{one.port},127.0.0.1:{two.port}/postgres"
            async with opened(f"{url}?target_session_attrs=read-write") as pool:
                assert await number(pool, "SELECT pg_is_in_recovery()") is False
            async with opened(f"{url}?target_session_attrs=standby") as pool:
                assert await number(pool, "SELECT pg_is_in_recovery()") is True

    asyncio.run(story())
