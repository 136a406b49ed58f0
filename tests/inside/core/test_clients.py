"""Clients that go away, do not read, or send what nobody asked for."""

import time

import pytest

from tests.conftest import Start
from tests.harness import Service, eventually
from tests.wire import Connection

#: Far more than the buffers of two sockets hold.
MEBIBYTES = 64
#: Seconds that a stop may take which waits for no peer; far below the limit beside it.
SOON = 30.0
FAR = {"APP_SHUTDOWN__LIMIT_SECONDS": "90", "APP_SHUTDOWN__GRACE_SECONDS": "150"}


@pytest.mark.parametrize("path", ["/polls", "/polls-stream"])
def test_a_handler_that_polls_sees_its_client_go(serve: Start, path: str) -> None:
    service = serve("tests.apps.clients")
    with service.connect() as connection:
        connection.ask(path)
        eventually(lambda: under_way(service) == 1, "the request")
    service.logged("client gone")
    eventually(lambda: under_way(service) == 0, "the end of the request")
    assert service.status()["phase"] == "ready"
    service.signal()
    assert service.ended(SOON) == 0
    assert service.report["cut"] == []


def under_way(service: Service) -> int:
    status = service.status()
    return int(status["in_flight"] + status["streams"])


def test_a_websocket_whose_client_does_not_read_is_left(serve: Start) -> None:
    service = serve("tests.apps.clients", **FAR)
    with service.connect() as connection:
        connection.ask(
            "/flood",
            connection="Upgrade",
            upgrade="websocket",
            sec_websocket_version="13",
            sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
        )
        assert connection.head().status == 101
        service.logged("client does not read")
        service.signal()
        assert service.ended(SOON) == 0
    assert service.report["streams_ended"] == 1
    assert service.report["cut"] == []


def test_an_event_stream_whose_client_does_not_read_is_left(serve: Start) -> None:
    service = serve("tests.apps.clients", **FAR)
    with service.connect() as connection:
        connection.ask("/flood-of-events/")
        assert connection.head().status == 200
        service.logged("client does not read")
        service.signal()
        assert service.ended(SOON) == 0
    assert service.report["streams_ended"] == 1
    assert service.report["cut"] == []


def test_an_answer_that_is_not_read_by_the_limit_is_named(serve: Start) -> None:
    service = serve("tests.apps.clients", APP_SHUTDOWN__LIMIT_SECONDS="1")
    with service.connect() as connection:
        connection.ask(f"/big?mebibytes={MEBIBYTES}")
        assert connection.head().status == 200
        service.logged("request")  # the handler is done, its answer is not sent
        service.signal()
        assert service.ended(SOON) == 1
    assert service.report["exit_code"] == 1
    assert [what for what in service.report["cut"] if "not fully sent" in what]


def test_an_event_stream_that_never_listens_ends_well(serve: Start) -> None:
    service = serve("tests.apps.clients", **FAR)
    with service.connect() as connection:
        connection.ask("/unheard/")
        assert connection.head().status == 200
        service.signal()
        while connection.chunk():
            pass
        assert service.ended(SOON) == 0
    assert service.report["streams_ended"] == 1
    assert service.report["cut"] == []


@pytest.mark.parametrize("draining", [False, True], ids=["ready", "draining"])
def test_a_body_that_nobody_reads_costs_no_answer(serve: Start, draining: bool) -> None:
    """Closing with unread bytes would reset the connection under the client's eyes."""
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="3")
    if draining:
        service.drain()
    for _ in range(3):
        with service.connect() as connection:
            answer = connection.post("/nowhere", bytes(3_000_000))
            assert (answer.status, answer.closes) == (404, draining)
            assert b"Not Found" in answer.body
            assert not draining or connection.ends()
    if not draining:
        service.signal()
    assert service.ended(SOON) == 0


def test_a_client_that_asks_first_is_answered_at_once(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="4")
    service.drain()
    seconds = []
    for _ in range(3):
        with service.connect() as connection:
            seconds.append(time_to_refusal(connection))
    assert min(seconds) < 0.6, "it waited for a body that never comes"
    assert service.ended(SOON) == 0


def time_to_refusal(connection: Connection) -> float:
    began = time.monotonic()
    connection.ask("/nowhere", "POST", expect="100-continue", content_length="30")
    answer = connection.response()
    assert (answer.status, answer.closes) == (404, True)
    return time.monotonic() - began
