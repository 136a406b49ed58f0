"""Services under test, gone when the test is over."""

#% if cookiecutter.database == "postgresql"
import asyncio
#% endif
import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

#% if cookiecutter.database == "postgresql"
from app.database.settings import Database, Migrations
from app.migrations import run
from dev import postgres
from tests.harness import QUICK, Service, running

#% else
from tests.harness import Service, running

#% endif

Start = Callable[..., Service]


#% if cookiecutter.database == "postgresql"
def migrate(url: str) -> None:
    """Upgrade the database at ``url`` to the newest schema."""
    database = Database.model_validate({"url": url})
    asyncio.run(run.upgrade(database, Migrations(), print))


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """The URL of a server whose databases belong to this run."""
    with postgres.server() as url:
        yield url


@pytest.fixture(scope="session")
def migrated(database_server: str) -> Iterator[str]:
    """The URL of a database with the newest schema, which is only copied."""
    with postgres.database(database_server) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session", autouse=True)
def shared_database(database_server: str, migrated: str) -> Iterator[str]:
    """The URL of the database that a service has whose test does not ask for one."""
    with postgres.database(database_server, template=migrated) as url:
        QUICK["APP_DATABASE__URL"] = url
        yield url


@pytest.fixture
def database(database_server: str, migrated: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database of this test with the newest schema, and for the services it starts."""
    with postgres.database(database_server, template=migrated) as url:
        monkeypatch.setitem(QUICK, "APP_DATABASE__URL", url)
        yield url


@pytest.fixture
def empty_database(database_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same without a schema."""
    with postgres.database(database_server) as url:
        monkeypatch.setitem(QUICK, "APP_DATABASE__URL", url)
        yield url


#% endif
@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process: ``start("app of tests/apps", APP_NAME="value")``; do not wait for it."""
    with contextlib.ExitStack() as stack:
        yield lambda app="", **settings: stack.enter_context(running(app, **settings))


@pytest.fixture
def serve(start: Start) -> Start:
    """Start a process and wait until it is ready."""
    return lambda app="", **settings: start(app, **settings).ready()


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith(("APP_", "KUBERNETES_", "POD_", "NODE_NAME")):
            monkeypatch.delenv(name)
    return monkeypatch
