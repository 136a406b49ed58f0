"""Streams of records end after a whole record, with their final chunk."""

import json
import re

import pytest

from tests.conftest import Start
from tests.harness import Service
from tests.wire import Connection

LINES = ["/fastapi", "/fastapi-sync", "/lines", "/halves", "/wrapped/halves", "/raw/", "/silent"]
#: Longer than any test waits: what ends in time is not waited for up to the limit.
FAR = {"APP_SHUTDOWN__LIMIT_SECONDS": "60", "APP_SHUTDOWN__GRACE_SECONDS": "300"}
WARNING = "streams of records ended early"


def open_stream(connection: Connection, path: str) -> None:
    connection.ask(path)
    assert connection.head().status == 200
    assert connection.chunk()


def whole_body(service: Service, path: str) -> bytes:
    """What the client of a stream gets until the stop has ended it cleanly."""
    with service.connect() as connection:
        connection.ask(path)
        assert connection.head().status == 200
        first = connection.chunk()
        service.signal()
        body = first + b"".join(iter(connection.chunk, b""))
        assert connection.ends()
    return body


def ended_well(service: Service) -> None:
    assert service.ended() == 0
    assert service.report["streams_ended"] == 1
    assert service.report["cut"] == []
    assert not service.lines(level="error")


@pytest.mark.parametrize("path", LINES)
def test_lines_end_with_a_whole_line(serve: Start, path: str) -> None:
    service = serve("tests.apps.records", **FAR)
    body = whole_body(service, path)
    assert body.endswith(b"\n")
    assert all(json.loads(line)["count"] >= 0 for line in body.splitlines())
    ended_well(service)


def test_a_json_text_sequence_ends_with_a_whole_text(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    body = whole_body(service, "/sequence")
    assert body.endswith(b"\n")
    assert all(json.loads(text)["count"] > 0 for text in body.split(b"\x1e")[1:])
    ended_well(service)


def test_a_multipart_stream_ends_with_a_whole_part_and_its_closing_boundary(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    body = whole_body(service, "/parts")
    part = rb"--frame\r\nContent-Type: text/plain\r\n\r\n1234567890\r\n"
    assert re.fullmatch(rb"(%s)+--frame--\r\n" % part, body)
    ended_well(service)


def test_an_http_1_0_client_gets_whole_records_too(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    with service.connect() as connection:
        connection.send(b"GET /halves HTTP/1.0\r\n\r\n")
        assert connection.head().closes
        first = connection.chunk()
        service.signal()
        assert (first + b"".join(iter(connection.chunk, b""))).endswith(b"}\n")
        assert connection.ends()
    ended_well(service)


def test_the_log_names_streams_whose_handlers_did_not_end_them(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    whole_body(service, "/lines")
    ended_well(service)
    (line,) = service.lines(WARNING)
    assert (line["streams"], line["requests"]) == (1, ["GET /lines"])


def test_a_handler_may_say_goodbye_in_a_last_record(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    assert whole_body(service, "/goodbye").endswith(b'{"say":"goodbye"}\n')
    ended_well(service)
    assert not service.lines(WARNING)


def test_a_record_that_is_never_completed_is_cut_and_named(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    with service.connect() as connection:
        open_stream(connection, "/stuck")
        service.signal()
        with pytest.raises(ConnectionResetError):  # no final chunk: the client sees it
            connection.chunk()
    assert service.ended() == 1
    assert service.report["requests_cut"] == ["GET /stuck"]
    assert service.report["cut"] == ["GET /stuck"]


def test_a_client_that_leaves_in_the_middle_of_a_record_does_not_count(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    with service.connect() as connection:
        open_stream(connection, "/stuck")
    service.logged("request", path="/stuck")
    service.signal()
    assert service.ended() == 0


def test_a_stream_that_is_declared_finite_is_waited_for(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    assert whole_body(service, "/finite?count=40").count(b"\n") == 40
    assert service.ended() == 0
    assert service.report["requests_served"] == 1
    assert not service.lines(WARNING)


def test_a_finite_stream_longer_than_the_limit_is_cut_like_a_request(serve: Start) -> None:
    service = serve("tests.apps.records", APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    with service.connect() as connection:
        open_stream(connection, "/finite?count=10000")
        service.signal()
        with pytest.raises(ConnectionResetError):
            while connection.chunk():
                pass
    assert service.ended() == 1
    assert service.report["requests_cut"] == ["GET /finite"]


def test_a_response_that_says_its_length_is_waited_for(serve: Start) -> None:
    service = serve("tests.apps.records", **FAR)
    with service.connect() as connection:
        connection.ask("/length")
        service.busy(1)
        service.signal()
        assert connection.response().body == b'{"count": 1}\n' * 20
    assert service.ended() == 0


@pytest.mark.parametrize("path", ["/endless", "/compressed/lines"])
def test_where_no_end_of_a_record_is_seen_the_limit_holds(serve: Start, path: str) -> None:
    service = serve("tests.apps.records", APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    with service.connect() as connection:
        connection.ask(path, accept_encoding="gzip")
        assert connection.head().status == 200
        service.signal()
        with pytest.raises(ConnectionResetError):
            while connection.chunk():
                pass
    assert service.ended() == 1
    assert service.report["requests_cut"] == [f"GET {path}"]


@pytest.mark.parametrize("hook", [False, True], ids=["second signal", "short grace"])
def test_in_a_hurry_they_end_with_a_whole_record_too(serve: Start, hook: bool) -> None:
    service = serve("tests.apps.records", **{**FAR, "APP_SHUTDOWN__FLOOR_SECONDS": "60"})
    with service.connect() as connection:
        open_stream(connection, "/halves")
        if hook:
            service.prestop()
            service.logged("stop")
        else:
            service.drain()
        service.signal()
        assert b"".join(iter(connection.chunk, b"")).endswith(b"}\n")
        assert connection.ends()
    assert service.ended() == 0
    assert service.report["streams_ended"] == 1


def test_many_streams_that_end_at_once_end_with_whole_records(serve: Start) -> None:
    service = serve("tests.apps.records", **{**FAR, "APP_SHUTDOWN__STREAM_SPREAD_SECONDS": "0"})
    connections = [service.connect() for _ in range(50)]
    for connection in connections:
        open_stream(connection, "/halves")
    service.signal()
    for connection in connections:
        assert b"".join(iter(connection.chunk, b"")).endswith(b"}\n")
    assert service.ended() == 0
    assert service.report["streams_ended"] == 50
