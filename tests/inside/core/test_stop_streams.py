"""Event streams end with their final chunk, whoever made the response."""

import threading
import time

import pytest

from tests.conftest import Start
from tests.wire import Connection

KINDS = ["/starlette", "/starlette-sync", "/fastapi", "/fastapi-sync", "/sse-starlette", "/silent"]


def open_stream(connection: Connection, path: str) -> None:
    connection.ask(path)
    head = connection.head()
    assert head.status == 200
    assert head.headers["content-type"].startswith("text/event-stream")
    assert connection.chunk()


@pytest.mark.parametrize("path", KINDS)
def test_a_stream_is_ended_without_its_handlers_help(serve: Start, path: str) -> None:
    service = serve("tests.apps.streams")
    with service.connect() as connection:
        open_stream(connection, path)
        service.signal()
        while connection.chunk():
            pass
        assert connection.ends()
    assert service.ended() == 0
    assert service.seconds() < 9
    assert service.report["streams_ended"] == 1
    assert service.report["cut"] == []
    assert not [line for line in service.lines() if line["level"] == "error"]


def test_a_handler_may_say_goodbye(serve: Start) -> None:
    service = serve("tests.apps.streams")
    with service.connect() as connection:
        open_stream(connection, "/goodbye")
        service.signal()
        assert connection.chunk() == b"data: goodbye\n\n"
        assert connection.chunk() == b""
        assert connection.ends()
    assert service.ended() == 0
    assert service.report["streams_ended"] == 1


def test_a_handler_that_does_not_leave_is_ended(serve: Start) -> None:
    service = serve("tests.apps.streams")
    with service.connect() as connection:
        open_stream(connection, "/stubborn")
        service.signal()
        while connection.chunk():
            pass
        assert connection.ends()
    assert service.ended() == 0
    assert service.seconds() < 9


def test_the_example_says_goodbye(serve: Start) -> None:
    service = serve()
    with service.connect() as connection:
        open_stream(connection, "/events")
        service.signal()
        chunks = list(iter(connection.chunk, b""))
        assert b"event: goodbye" in chunks[-1]
        assert connection.ends()
    assert service.ended() == 0


def test_streams_do_not_end_all_at_once(serve: Start) -> None:
    spread, count = 4.0, 8
    service = serve("tests.apps.streams", APP_SHUTDOWN__STREAM_SPREAD_SECONDS=str(spread))
    connections = [service.connect() for _ in range(count)]
    for connection in connections:
        open_stream(connection, "/starlette")
    ends: list[float] = []

    def read(connection: Connection) -> None:
        while connection.chunk():
            pass
        ends.append(time.monotonic())

    readers = [threading.Thread(target=read, args=(c,)) for c in connections]
    for reader in readers:
        reader.start()
    service.signal()
    for reader in readers:
        reader.join(60)
    assert len(ends) == count
    assert spread * 0.6 < max(ends) - min(ends) < spread + 8
    gaps = [later - earlier for earlier, later in zip(sorted(ends), sorted(ends)[1:], strict=False)]
    assert max(gaps) < spread / 2, "spread evenly, not in two heaps"
    assert service.ended() == 0
    assert service.report["streams_ended"] == count


def test_a_stream_keeps_on_while_late_requests_come(serve: Start) -> None:
    service = serve("tests.apps.streams", APP_SHUTDOWN__FLOOR_SECONDS="1")
    with service.connect() as connection:
        open_stream(connection, "/starlette")
        service.drain()
        began = time.monotonic()
        while connection.chunk():
            pass
        assert time.monotonic() - began > 0.7
    assert service.ended() == 0


def test_a_client_that_leaves_does_not_count(serve: Start) -> None:
    service = serve("tests.apps.streams")
    with service.connect() as connection:
        open_stream(connection, "/starlette")
    service.logged("request", path="/starlette")
    service.signal()
    assert service.ended() == 0
    assert service.report["streams_ended"] == 0
