"""At the limit of a drain: what can end by itself ends, what comes late gets an answer."""

import asyncio
import socket
import threading
import time

import pytest

from app.lifecycle.http.server import HttpServer
from tests.apps.requests import app
from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.wire import Connection

LIMIT = {"APP_SHUTDOWN__LIMIT_SECONDS": "2"}


def at_the_limit(service: Service) -> None:
    eventually(
        lambda: [s for s in service.lines("stop") if "the limit is reached" in s["step"]],
        "the limit",
    )


class Hammer:
    """A client that asks one pod straight, one request after the other, like ``ab``."""

    def __init__(self, service: Service, keep: bool) -> None:
        self._service = service
        self._keep = keep
        self.statuses: list[int] = []
        self.broken: list[str] = []
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection = Connection(HOST, self._service.port)
            except OSError:
                return  # the listener is closed: nobody's request
            with connection:
                try:
                    closes = False
                    while not closes:
                        response = connection.get("/slow?seconds=0.01")
                        self.statuses.append(response.status)
                        closes = response.closes or not self._keep
                except OSError as error:
                    self.broken.append(repr(error))


@pytest.mark.parametrize("keep", [True, False])
def test_short_requests_are_not_cut(serve: Start, keep: bool) -> None:
    service = serve("tests.apps.requests", **LIMIT)
    clients = [Hammer(service, keep) for _ in range(4)]
    eventually(lambda: all(client.statuses for client in clients), "the first answers")
    service.signal()
    assert service.ended() == 0
    for client in clients:
        client.thread.join(20)
        assert set(client.statuses) <= {200, 503}
    assert service.report["requests_cut"] == []
    assert service.report["seconds"]["draining"] >= 2
    refused = sum(client.statuses.count(503) for client in clients)
    assert service.report["requests_refused"] == refused
    # One that the kernel completes in the microseconds before the listener closes is reset.
    assert sum(len(client.broken) for client in clients) <= 1


def test_what_ends_soon_after_the_limit_is_not_cut(serve: Start) -> None:
    settings = {"APP_SHUTDOWN__LIMIT_SECONDS": "3", "APP_SHUTDOWN__STOP_SECONDS": "12"}
    service = serve("tests.apps.requests", **settings)
    with service.connect() as ends, service.connect() as does_not:
        does_not.ask("/slow?seconds=60")
        service.busy(1)
        service.signal()
        began = time.monotonic()
        eventually(lambda: time.monotonic() > began + 2, "the limit to be near")
        ends.ask("/slow?seconds=1.5")
        response = ends.response()
        assert (response.status, response.closes) == (200, True)
        assert does_not.response().status == 503
    assert service.ended() == 1
    assert service.report["requests_cut"] == ["GET /slow"]
    assert service.report["cut"] == ["GET /slow"]


def test_a_late_request_on_a_kept_connection_is_answered(serve: Start) -> None:
    service = serve("tests.apps.requests", **LIMIT, APP_SHUTDOWN__STOP_SECONDS="10")
    with service.connect() as busy, service.connect() as kept, service.connect() as idle:
        assert kept.get("/slow?seconds=0").status == 200
        assert idle.get("/slow?seconds=0").status == 200
        busy.ask("/slow?seconds=60")
        service.busy(1)
        service.signal()
        at_the_limit(service)
        late = kept.get("/slow?seconds=0")
        assert (late.status, late.headers["retry-after"], late.closes) == (503, "1", True)
        assert idle.ends()
        assert busy.response().status == 503
    assert service.ended() == 1
    assert service.report["requests_refused"] == 1
    assert service.report["requests_cut"] == ["GET /slow"]


def test_the_moment_is_part_of_the_stops_own_time(serve: Start) -> None:
    service = serve("tests.apps.requests", **LIMIT, APP_SHUTDOWN__STOP_SECONDS="10")
    with service.connect() as connection:
        connection.ask("/deaf?seconds=60")
        service.busy(1)
        service.signal()
        assert service.ended() == 1
    assert service.report["seconds"]["total"] < 2 + 10 + 2, "a moment of its own would be 3 s more"


def test_time_left_is_until_the_cut(serve: Start) -> None:
    """Whoever goes by it is done before."""
    service = serve("tests.apps.requests", **LIMIT, APP_SHUTDOWN__GRACE_SECONDS="30")
    with service.connect() as connection:
        connection.ask("/until_cut?leave=1.5")
        service.busy(1)
        service.signal()
        response = connection.response()
        assert response.status == 200
        assert 0 < float(response.body) < 1.5
    assert service.ended() == 0
    assert service.report["requests_cut"] == []


def test_what_waits_in_the_kernel_when_the_listener_closes_is_answered() -> None:
    async def main() -> list[int]:
        listener = socket.create_server((HOST, 0))
        server = HttpServer(app, listener, limit=100)
        await server.start()
        clients = [Connection(HOST, listener.getsockname()[1]) for _ in range(5)]
        for client in clients:  # the event loop has not turned since
            client.ask("/slow?seconds=0")
        assert server.close_listener() == 5
        try:
            return [(await asyncio.to_thread(client.response)).status for client in clients]
        finally:
            for client in clients:
                client.close()
            await server.close_connections()

    assert asyncio.run(main()) == [200] * 5


def test_the_listener_closes_at_the_limit_though_streams_still_end(serve: Start) -> None:
    service = serve("tests.apps.streams", **LIMIT, APP_SHUTDOWN__FLOOR_SECONDS="2")
    with service.connect() as stream:
        stream.ask("/stubborn")  # its turn lasts a second
        assert stream.head().status == 200
        service.signal()
        at_the_limit(service)
        with pytest.raises(ConnectionRefusedError):
            service.connect()
        while stream.chunk():
            pass
    assert service.ended() == 0
    assert service.report["streams_ended"] == 1
    limit = next(i for i, line in enumerate(service.lines()) if "limit is" in str(line))
    ended = next(i for i, line in enumerate(service.lines()) if line.get("path") == "/stubborn")
    assert limit < ended


def test_time_left_of_a_stream_is_until_its_end(serve: Start) -> None:
    service = serve("tests.apps.streams", APP_SHUTDOWN__LIMIT_SECONDS="10")
    with service.connect() as stream:
        stream.ask("/left")
        stream.head()
        assert float(stream.chunk()) == float("inf")
        service.signal()
        assert 0 < float(stream.chunk()) <= 1, "the second to say goodbye"
    assert service.ended() == 0
