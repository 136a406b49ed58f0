"""Runs Alembic on a connection of its own, one migration at a time."""

import asyncio
import random
import sys
import time
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.settings import Database, Migrations
from app.migrations.connection import (
    MigrationError,
    Say,
    connected,
    is_pooled,
    lock,
    oldest_transaction,
    reason,
    require_lock,
    set_timeouts,
)
from app.migrations.revisions import FOLDER, State, compare, describe, known, title
from app.migrations.schema import revision_of

#: SQLSTATE of a lock that was not to be had in time, of a deadlock, and of a statement's timeout.
LOCKED = ("55P03", "40P01")
TOO_LONG = "57014"
POOLED = (
    "APP_DATABASE__URL leads to a pooler, which may give every statement another connection, so "
    "that the lock would not hold: set APP_MIGRATIONS__URL to the address of the server itself."
)
#: Seconds until a migration that met a lock is tried again, at first and at most.
PAUSE, LONGEST_PAUSE = 1.0, 10.0


def config(**attributes: object) -> Config:
    """Alembic's configuration; ``attributes`` are for ``env.py``."""
    made = Config(output_buffer=sys.stdout, attributes=dict(attributes))
    made.set_main_option("script_location", str(FOLDER.parent).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


async def look(database: Database, migrations: Migrations) -> str | None:
    """The revision of the database. Raises MigrationError."""
    async with connected(database, migrations.url.get_secret_value()) as connection:
        return await revision_of(connection)


async def upgrade(
    database: Database, migrations: Migrations, say: Say, target: str = "head"
) -> None:
    """Upgrade the database to ``target``; ``say`` gets a sentence for each step.

    Raises MigrationError. Other processes that do the same wait until this one is done.
    """
    deadline = time.monotonic() + migrations.wait_seconds
    url = migrations.url.get_secret_value()
    if not url and database.pooler != "none":
        raise MigrationError(POOLED)
    async with connected(database, url) as connection:
        if not url and await is_pooled(connection):
            raise MigrationError(POOLED)
        await lock(connection, deadline, say)
        await set_timeouts(connection, migrations)
        pause = PAUSE
        while _is_below(await revision_of(connection), target):
            await require_lock(connection)
            try:
                await connection.run_sync(_upgrade, target, say)
                break
            except DBAPIError as error:
                await connection.rollback()
                await _explain(connection, error, migrations, pause, deadline, say)
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(LONGEST_PAUSE, 2 * pause)
        say(describe(await revision_of(connection)))


def _is_below(found: str | None, target: str) -> bool:
    """Whether there is something to do; going back is not possible here."""
    older = compare(found) is State.OLDER
    return older and (found is None or target == "head" or target > found)


def _upgrade(connection: Connection, target: str, say: Say) -> None:
    def applied(*, step: Any, **_: object) -> None:
        say(f"Applied {title(step.up_revision_id)}.")

    command.upgrade(config(connection=connection, on_version_apply=applied), target)


async def _explain(
    connection: AsyncConnection,
    error: DBAPIError,
    settings: Migrations,
    pause: float,
    deadline: float,
    say: Say,
) -> None:
    """Say why a revision has to wait. Raises MigrationError if it has failed."""
    code = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated:
        raise MigrationError(f"The connection to the database broke: {reason(error)}.") from error
    done = await revision_of(connection)
    next_one = next((number for number in known() if done is None or number > done), None)
    failed = f"Revision {title(next_one)}"
    if code == TOO_LONG:
        raise MigrationError(
            f"{failed} has a statement that took longer than APP_MIGRATIONS__STATEMENT_SECONDS"
            f"={settings.statement_seconds:g}: split it, or raise the limit."
        ) from error
    if code not in LOCKED:
        raise MigrationError(f"{failed} failed: {reason(error)}.") from error
    holder = await oldest_transaction(connection)
    if time.monotonic() + pause > deadline:
        raise MigrationError(
            f"{failed} did not get a lock within APP_MIGRATIONS__WAIT_SECONDS="
            f"{settings.wait_seconds:g}{holder}."
        ) from error
    say(f"{failed} waits for a lock, and tries again in {pause:.0f} s{holder}.")


def print_sql(start: str | None, settings: Migrations) -> None:
    """Print the SQL from the revision ``start`` (None: from nothing) to the newest."""
    for name, seconds in {
        "lock_timeout": settings.lock_seconds,
        "statement_timeout": settings.statement_seconds,
    }.items():
        sys.stdout.write(f"SET {name} = '{seconds * 1000:.0f}ms';\n\n")
    command.upgrade(config(), f"{start or 'base'}:head", sql=True)
