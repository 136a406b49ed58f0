"""The database is stopped, crashed, frozen or full while clients write."""

import asyncio
import signal
import time
from collections.abc import Iterator

import asyncpg
import pytest

from dev.postgres import database
from tests.a_server import Server, a_server
from tests.conftest import migrate
from tests.harness import Service, eventually, running
from tests.load_on_notes import Load, load

#: Connections of the server, of which the service takes ten.
CONNECTIONS = 20


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with a_server(f"max_connections={CONNECTIONS}") as server:
        yield server


@pytest.fixture
def service(server: Server) -> Iterator[Service]:
    with database(server.url) as url:
        migrate(url)
        with running(APP_DATABASE__URL=url, APP_LOG__ACCESS="false") as service:
            yield service.ready()


def served(found: Load, since: float) -> None:
    """Wait until a request that began after ``since`` is served."""
    eventually(lambda: any(s.status == 201 for s in found.since(since)), "a request to be served")


def refused_at_once(found: Load, since: float, until: float, served: int = 0) -> None:
    """The requests of this time, but for a part, got 503, and hardly one waited."""
    sent = [one for one in found.since(since, until) if not served or one.status != served]
    assert len(sent) > 20
    assert {one.status for one in sent} == {503}
    assert all(one.answer.headers["retry-after"] == "1" for one in sent)
    seconds = sorted(one.seconds for one in sent)
    assert seconds[len(seconds) * 95 // 100] < 1, "not the patience with a connection, 5 s"


def changes(service: Service) -> list[str]:
    return [line["event"] for line in service.lines(logger="app.database.breaker")]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_a_database_that_is_away(server: Server, service: Service, how: signal.Signals) -> None:
    with load(service) as found:
        served(found, 0)
        server.stop(how)
        service.logged("database unreachable")
        away = time.monotonic()
        assert b'app_database_reachable{db_client_connection_pool_name="database"} 0' in (
            service.probe("metrics").body
        )
        time.sleep(2)
        server.start()
        back = time.monotonic()
        served(found, back)
        recovered = min(s.at + s.seconds for s in found.since(back) if s.status == 201)
        eventually(lambda: len(found.since(recovered)) > 50, "more requests")
    refused_at_once(found, away + 0.1, away + 1.9)
    assert recovered - back < 5, "1 s, and what a busy machine adds"
    assert {s.status for s in found.since(recovered + 0.1)} == {201}
    assert {s.status for s in found.sent} <= {201, 500, 503}
    found.stored_once(service.environment["APP_DATABASE__URL"])
    assert changes(service) == ["database unreachable", "database reachable"]


def test_a_database_that_is_frozen(server: Server, service: Service) -> None:
    with load(service) as found:
        served(found, 0)
        server.freeze()
        frozen = time.monotonic()
        service.logged("database unreachable")
        away = time.monotonic()
        time.sleep(2)
        server.thaw()
        back = time.monotonic()
        served(found, back)
        recovered = min(s.at + s.seconds for s in found.since(back) if s.status == 201)
    assert away - frozen < 10
    refused_at_once(found, away + 0.1, back - 0.1)
    assert recovered - back < 5
    found.stored_once(service.environment["APP_DATABASE__URL"])
    assert changes(service) == ["database unreachable", "database reachable"]


def test_a_server_without_free_connections(server: Server, service: Service) -> None:
    url = service.environment["APP_DATABASE__URL"]

    async def fill() -> None:
        """Take all connections of the server, so that the service gets none."""
        taken = []
        try:
            while True:
                taken.append(await asyncpg.connect(url))
        except asyncpg.TooManyConnectionsError:
            pass
        with load(service) as found:
            began = time.monotonic()
            await asyncio.to_thread(eventually, lambda: len(found.sent) > 200, "requests")
            full = time.monotonic()
            for connection in taken:
                connection.terminate()
            await asyncio.to_thread(served, found, full)
        # The check of the schema has a connection, which serves some requests between its own.
        refused_at_once(found, began, full - 0.2, served=201)
        found.stored_once(url)

    asyncio.run(fill())
    assert changes(service) == [], "the server answers, and connections that are open work"


def test_requests_without_a_database_are_served(server: Server, service: Service) -> None:
    server.stop()
    try:
        assert service.get("/notes").status == 503
        assert service.get("/hello").status == 200
        assert service.probe("readyz").status == 200
    finally:
        server.start()
    eventually(lambda: service.get("/notes").status == 200, "the database to be found")
