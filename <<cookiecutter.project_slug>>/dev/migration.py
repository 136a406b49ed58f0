"""``make migration NAME="add a price"``: write a revision that makes the tables like the models.

It compares the models with a new database that has all revisions so far. Read what it writes:
it sees added and dropped columns, but takes a new name for a drop and an addition.
"""

import asyncio
import importlib
import pkgutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

from alembic import command
from alembic.script import Script
from sqlalchemy import Connection, MetaData

import app
from app.database.models import Base
from app.database.settings import Database, Migrations
from app.migrations import run
from app.migrations.connection import MigrationError, connected
from app.migrations.revisions import needed
from dev import postgres


def metadata() -> MetaData:
    """The tables of all models, wherever in the package they are."""
    for found in pkgutil.walk_packages(app.__path__, "app."):
        if not found.name.startswith(("app.__main__", "app.asgi", "app.migrations")):
            importlib.import_module(found.name)
    return Base.metadata


async def write(url: str, name: str) -> Path:
    """Migrate the empty database at ``url`` and write the revision; return its file."""
    database = Database.model_validate({"url": url})
    await run.upgrade(database, Migrations(), lambda _: None)

    def revise(connection: Connection) -> Path:
        number = f"{int(needed() or 0) + 1:04}"
        config = run.config(connection=connection, metadata=metadata())
        config.cmd_opts = Namespace(quiet=True)
        script = command.revision(config, name, autogenerate=True, rev_id=number)
        assert isinstance(script, Script)
        return Path(script.path)

    async with connected(database) as connection:
        return await connection.run_sync(revise)


def main() -> int:
    """Write a revision with the name that was given; return the exit code."""
    name = " ".join(sys.argv[1:]).strip()
    if not name:
        sys.exit('NAME is missing: make migration NAME="add a price"')
    try:
        with postgres.server() as url, postgres.database(url) as empty:
            path = asyncio.run(write(empty, name))
    except (postgres.PostgresError, MigrationError) as error:
        sys.exit(str(error))
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if "# ###" not in line), "utf-8")
    for arguments in (["check", "--fix-only", "--quiet"], ["format", "--quiet"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, str(path)], check=True)
    sys.stdout.write(f"{path.relative_to(Path.cwd())}: read it before you commit it.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
