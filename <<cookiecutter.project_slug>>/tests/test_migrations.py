"""The revisions: one line of them, each up, down and up again, to what the models say."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.database.settings import Database
from app.migrations import run
from app.migrations.connection import connected
from app.migrations.revisions import FOLDER, known, needed
from dev import postgres
from dev.migration import metadata

#: Every table, column, index and constraint of the schema, a line for each.
OBJECTS = """
SELECT attrelid::regclass || '.' || attname || ' ' || format_type(atttypid, atttypmod)
       || CASE WHEN attnotnull THEN ' not null' ELSE '' END
  FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
  FROM pg_constraint WHERE connamespace = 'public'::regnamespace
ORDER BY 1"""


def alembic(url: str, work: Callable[..., Any], *arguments: object) -> None:
    """Run one of Alembic's commands on the database at ``url``."""

    async def connect() -> None:
        async with connected(Database.model_validate({"url": url})) as connection:
            await connection.run_sync(lambda c: work(run.config(connection=c), *arguments))

    asyncio.run(connect())


def test_the_revisions_are_one_line_and_named_by_their_numbers() -> None:
    script = ScriptDirectory.from_config(run.config())
    line = [revision.revision for revision in script.walk_revisions()][::-1]
    files = sorted(path.name for path in FOLDER.glob("*.py"))

    assert [file[:4] for file in files] == line == sorted(known())
    assert all(re.fullmatch(r"[0-9]{4}_\w+\.py", file) for file in files)
    assert script.get_current_head() == needed()


def test_every_revision_goes_up_down_and_up_again(empty_database: str) -> None:
    for number in known():
        before = postgres.query(empty_database, OBJECTS)
        alembic(empty_database, command.upgrade, number)
        after = postgres.query(empty_database, OBJECTS)
        alembic(empty_database, command.downgrade, "-1")
        if number != min(known()):  # the first one also creates Alembic's own table, which stays
            assert postgres.query(empty_database, OBJECTS) == before, number
        alembic(empty_database, command.upgrade, number)
        assert postgres.query(empty_database, OBJECTS) == after, number


def test_models_and_migrations_agree(database: str) -> None:
    """``make migration NAME="..."`` writes the revision that is missing."""
    differences: list[object] = []

    def compare(config: Config) -> None:
        connection: Connection = config.attributes["connection"]
        context = MigrationContext.configure(connection)
        differences.extend(compare_metadata(context, metadata()))

    alembic(database, compare)
    assert differences == []
