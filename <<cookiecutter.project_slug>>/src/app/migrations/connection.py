"""The connection of a migration: errors as sentences, the lock, the timeouts."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
from pydantic import SecretStr
from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from app.database.address import read
from app.database.engine import connector
from app.database.settings import Database, Migrations
from app.lifecycle.ports import StartError

#: The advisory lock of migrations: "migrate!" as a number. Each database has its own.
LOCK = int.from_bytes(b"migrate!")
#: Most seconds between two attempts to get the lock.
PAUSE = 0.5

Say = Callable[[str], object]


class MigrationError(Exception):
    """A migration cannot run or has failed; the message is one sentence for its operator."""


@contextlib.asynccontextmanager
async def connected(database: Database, url: str = "") -> AsyncIterator[AsyncConnection]:
    """Connect to ``url``, or that of ``database``, outside of any pool. Raises MigrationError."""
    own = {"url": SecretStr(url), "password_file": ""} if url else {}
    # As if there were a pooler: the timeouts of a migration are not those of the service.
    as_pooled = {"pooler": "pgbouncer", "statement_seconds": 0.0}
    settings = database.model_copy(update={**as_pooled, **own})
    try:
        connect = connector(settings, asyncpg.Connection)
    except StartError as error:
        raise MigrationError(f"{error}.") from None
    address = read(settings.url.get_secret_value())
    engine = create_async_engine(
        f"postgresql+{address.driver}://", poolclass=NullPool, connect_args=connect.arguments()
    )
    async with contextlib.AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(engine.connect())
        except (OSError, SQLAlchemyError) as error:
            place = f"{address.host}:{address.port}/{address.name}"
            raise MigrationError(
                f"No connection to the database at {place}: {reason(error)}."
            ) from None
        yield connection


async def is_pooled(connection: AsyncConnection) -> bool:
    """Whether a pooler answers: it gives its clients another number than the server's process."""
    driver: Any = (await connection.get_raw_connection()).driver_connection
    server = await connection.scalar(text("SELECT pg_backend_pid()"))
    await connection.commit()
    told = driver.info.backend_pid if hasattr(driver, "info") else driver.get_server_pid()
    return bool(told != server)


async def lock(connection: AsyncConnection, deadline: float, say: Say) -> None:
    """Take the advisory lock, which lasts as long as the connection. Raises MigrationError.

    It is tried again and again rather than waited for: a statement that waits has a snapshot,
    and CREATE INDEX CONCURRENTLY in the migration that runs would wait for that one.
    """
    waits = False
    while not await _take_lock(connection):
        if not waits:
            waits = True
            say("Another migration runs: waiting for it.")
        if time.monotonic() > deadline:
            raise MigrationError(
                "Another migration still runs, and APP_MIGRATIONS__WAIT_SECONDS have passed."
            )
        await asyncio.sleep(PAUSE * random.uniform(0.5, 1.0))


async def _take_lock(connection: AsyncConnection) -> bool:
    taken = await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK})
    await connection.commit()
    return bool(taken)


async def require_lock(connection: AsyncConnection) -> None:
    """Raise MigrationError unless the process behind ``connection`` still has the lock."""
    count = await connection.scalar(
        text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND pid = pg_backend_pid() AND classid::bigint * 4294967296 + objid::bigint = :key"
        ),
        {"key": LOCK},
    )
    await connection.commit()
    if not count:
        raise MigrationError(
            "The lock is on another connection to the server, so a pooler is in between: set "
            "APP_MIGRATIONS__URL to the address of the server itself."
        )


async def set_timeouts(connection: AsyncConnection, settings: Migrations) -> None:
    """Bound the waits and statements; let the server notice when this process is killed."""
    times = {
        "lock_timeout": settings.lock_seconds,
        "statement_timeout": settings.statement_seconds,
        # Since PostgreSQL 14. Otherwise a statement goes on when nobody is there any more.
        "client_connection_check_interval": 1.0,
    }
    for name, seconds in times.items():
        with contextlib.suppress(DBAPIError):  # not possible on every system
            await connection.execute(
                text("SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name"),
                {"name": name, "value": f"{seconds * 1000:.0f}ms"},
            )
        await connection.commit()


async def oldest_transaction(connection: AsyncConnection) -> str:
    """Who may hold the lock that a statement waits for: the oldest transaction; else nothing."""
    row = (
        await connection.execute(
            text(
                "SELECT pid, application_name, state, round(extract(epoch FROM now() - xact_start))"
                " FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
                " ORDER BY xact_start LIMIT 1"
            )
        )
    ).one_or_none()
    await connection.rollback()
    if row is None:
        return ""
    name = f" ({row[1]})" if row[1] else ""
    return f"; the oldest transaction is that of process {row[0]}{name}, {row[2]}, {row[3]} s old"


def reason(error: BaseException) -> str:
    """The first line of what the server or the system says, without a full stop at its end."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    original = getattr(error, "orig", None) or error
    original = original.__cause__ or original
    said = str(original).strip().splitlines()
    if isinstance(error, TimeoutError) and not said:
        return "no answer in time"
    return (said[0] if said else type(original).__name__).rstrip(".")
