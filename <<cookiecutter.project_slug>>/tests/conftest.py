"""Services under test, gone when the test is over."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

#% if cookiecutter.database == "postgresql"
from sqlalchemy.ext.asyncio import create_async_engine

from app.api.idempotency import Row
from app.api.notes.models import Note
from app.database.models import Base
from dev import postgres
from tests.harness import QUICK, Service, running

#% else
from tests.harness import Service, running

#% endif

Start = Callable[..., Service]


#% if cookiecutter.database == "postgresql"
async def create_tables(url: str) -> None:
    """Until there are migrations."""
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()


@pytest.fixture(scope="session", autouse=True)
def database_server() -> Iterator[str]:
    """The URL of a server whose databases belong to this run; every service starts with one."""
    with postgres.server() as url, postgres.database(url) as default:
        QUICK["APP_DATABASE__URL"] = default
        asyncio.run(create_tables(default))
        yield url


@pytest.fixture
def database(database_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty database for one test, and for the services that it starts."""
    with postgres.database(database_server) as url:
        asyncio.run(create_tables(url))
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
