"""A later version of the service: a copy of the package with more revisions."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database.settings import Database
from app.migrations.connection import connected
from tests.harness import PATIENCE, PROJECT, QUICK, clean_environment

REVISION = '''"""{name}."""

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = {previous}
branch_labels = None
depends_on = None


def upgrade() -> None:
    {upgrade}


def downgrade() -> None:
    pass
'''


class Later:
    """The package in ``folder``; its tests may add revisions and run its commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PROJECT / "src" / "app", folder / "app")
        self.versions = folder / "app" / "migrations" / "versions"

    def numbers(self) -> list[str]:
        return sorted(path.name[:4] for path in self.versions.glob("[0-9]*.py"))

    def add(self, name: str, *upgrade: str) -> str:
        """Add a revision with these lines; return its number."""
        numbers = self.numbers()
        previous = repr(numbers[-1]) if numbers else "None"
        number = f"{len(numbers) + 1:04}"
        source = REVISION.format(
            name=name, number=number, previous=previous, upgrade="\n    ".join(upgrade)
        )
        (self.versions / f"{number}_{name}.py").write_text(source, "utf-8")
        return number

    def start(self, *arguments: str, **settings: str) -> "subprocess.Popen[str]":
        """Start ``python -m app migrate`` with these arguments."""
        return subprocess.Popen(
            [sys.executable, "-m", "app", "migrate", *arguments],
            env={**self.environment(), **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def migrate(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run it to its end."""
        process = self.start(*arguments, **settings)
        out, err = process.communicate(timeout=2 * PATIENCE)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def environment(self) -> dict[str, str]:
        url = {"APP_DATABASE__URL": QUICK["APP_DATABASE__URL"]}
        return {**clean_environment(), **url, "PYTHONPATH": str(self.folder)}


@asynccontextmanager
async def transaction(url: str, *statements: str) -> AsyncIterator[AsyncConnection]:
    """A transaction that has run ``statements`` and stays open; it is rolled back."""
    async with connected(Database.model_validate({"url": url})) as connection:
        for statement in statements:
            await connection.execute(text(statement))
        yield connection


@contextmanager
def held(url: str, *statements: str) -> Iterator[None]:
    """The same in a test that is no coroutine."""
    with asyncio.Runner() as runner:
        holding = transaction(url, *statements)
        runner.run(holding.__aenter__())
        try:
            yield
        finally:
            runner.run(holding.__aexit__(None, None, None))


def read_until(process: "subprocess.Popen[str]", words: str) -> str:
    """The first line on stdout with ``words`` in it."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return line
    assert process.stderr is not None
    raise AssertionError(f"{words!r} was not said: {process.stderr.read()}")
