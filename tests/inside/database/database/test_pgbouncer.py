"""Behind PgBouncer in transaction mode: each transaction may meet another server session."""

import asyncio
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text

from dev import postgres
from tests.database.pools import number, opened, outcomes, run
from tests.harness import eventually, free_port

PROGRAM = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
pytestmark = pytest.mark.skipif(
    not PROGRAM, reason="pgbouncer is not installed: apt-get install pgbouncer"
)
WORKERS, ROUNDS = 12, 15


@pytest.fixture
def pooler(database: str) -> Iterator[str]:
    """The URL of the database through PgBouncer with three sessions."""
    parts, port, user = urlsplit(database), free_port(), postgres._user()
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    (folder / "users").write_text('"postgres" ""\n')
    (folder / "ini").write_text(
        f"[databases]\n* = host={parts.hostname} port={parts.port}\n"
        f"[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\n"
        f"auth_type=trust\nauth_file={folder}/users\npool_mode=transaction\n"
        "default_pool_size=3\nmax_client_conn=200\n"
    )
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
        if user:
            shutil.chown(path, user)
    assert PROGRAM
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, folder / "ini"], user=user, cwd="/", stdout=log, stderr=log
        )
    through = parts._replace(netloc=f"postgres@127.0.0.1:{port}").geturl()

    def answers() -> bool:
        try:
            return bool(postgres.query(through, "SELECT 1"))
        except postgres.PostgresError:
            assert process.poll() is None, (folder / "log").read_text()
            return False

    try:
        eventually(answers, "PgBouncer to answer")
        yield through
    finally:
        process.terminate()
        process.wait(40)
        shutil.rmtree(folder)


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_every_transaction_succeeds(database: str, pooler: str, driver: str) -> None:
    if driver == "psycopg" and not importlib.util.find_spec("psycopg"):
        pytest.skip("psycopg is not installed")

    async def story() -> None:
        url = pooler.replace("postgresql:", f"postgresql+{driver}:")
        async with opened(url, pooler="pgbouncer", pool_size=WORKERS) as pool:
            await run(pool, "CREATE TABLE t (n int, note text)")

            async def work(worker: int) -> None:
                for n in range(ROUNDS):
                    async with pool.sessions() as session, session.begin():
                        values = {"n": n, "note": f"{worker}"}
                        await session.execute(text("INSERT INTO t VALUES (:n, :note)"), values)
                        await session.execute(text(f"SELECT {n} + count(*) FROM t"))

            assert await outcomes(*(work(one) for one in range(WORKERS))) == [""] * WORKERS
            assert await number(pool, "SELECT count(*) FROM t") == WORKERS * ROUNDS
            await pool.ping()

    asyncio.run(story())


def test_without_the_setting_transactions_fail(pooler: str) -> None:
    """What the setting is for: PgBouncer takes no settings of the server."""

    async def story() -> None:
        async with opened(pooler) as pool:
            assert await outcomes(number(pool)) != [""]

    asyncio.run(story())


def test_a_statement_that_takes_too_long_ends_here_too(pooler: str) -> None:
    async def story() -> None:
        async with opened(pooler, pooler="pgbouncer", statement_seconds=0.5) as pool:
            assert await outcomes(number(pool, "SELECT pg_sleep(30)")) == ["TimeoutError"]
            assert await number(pool) == 1

    asyncio.run(story())
