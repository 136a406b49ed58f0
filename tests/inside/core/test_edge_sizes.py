"""Requests that are too large are refused, and never held in memory."""

import contextlib
import json
from collections.abc import Callable

import pytest

from tests.conftest import Start
from tests.harness import eventually
from tests.test_edge import MIB, PATIENT, closed, memory, serves_others
from tests.wire import Connection


@pytest.mark.parametrize("line", [b"x: " + b"x" * 997, b"x" * 1000])
def test_a_head_without_end_is_answered_431(serve: Start, line: bytes) -> None:
    service = serve("tests.apps.edge", **PATIENT)
    serves_others(service)
    before = memory(service)
    with service.connect() as client:
        client.send(b"GET /hello HTTP/1.1\r\nhost: a\r\n")
        end = b"\r\n" if b":" in line else b""
        with contextlib.suppress(OSError):
            for _ in range(40 * 1000):
                client.send(line + end)
    eventually(lambda: service.status()["phase"] == "ready", "the service to answer")
    serves_others(service)
    assert memory(service) - before < 2 * MIB


@pytest.mark.parametrize(("size", "status"), [(60_000, 200), (70_000, 431), (200_000, 431)])
def test_the_largest_head(serve: Start, size: int, status: int) -> None:
    service = serve("tests.apps.edge", **PATIENT)
    with service.connect() as client:
        assert client.get("/hello", x="x" * size).status == status
        assert closed(service, "headers_too_large") == (status == 431)


def test_a_large_body_in_the_same_packet_is_no_large_head(serve: Start) -> None:
    service = serve("tests.apps.edge", **PATIENT, APP_REQUESTS__HEADER_BYTES="1024")
    with service.connect() as client:
        assert client.post("/body", b"x" * 500_000).body == b"500000"
        assert client.post("/body", b"x" * 500_000).body == b"500000"


def test_requests_in_one_packet_are_answered_in_order(serve: Start) -> None:
    service = serve("tests.apps.edge", **PATIENT)
    with service.connect() as client:
        client.send(b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n" * 50)
        assert [client.response().status for _ in range(50)] == [200] * 50
        assert client.get("/hello").status == 200


def chunked(client: Connection, path: str, size: int) -> None:
    client.send(f"POST {path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    part = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for _ in range(size // 65536):
        client.send(part)
    client.send(b"0\r\n\r\n")


def announced(client: Connection, path: str, size: int) -> None:
    client.send(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n".encode())
    for _ in range(size // 65536):
        client.send(b"x" * 65536)


@pytest.mark.parametrize("path", ["/body", "/model"])
@pytest.mark.parametrize("send", [chunked, announced])
def test_a_huge_body_is_answered_413(
    serve: Start, send: Callable[[Connection, str, int], None], path: str
) -> None:
    service = serve("tests.apps.edge", **PATIENT)
    serves_others(service)
    before = memory(service)
    with service.connect() as client:
        with contextlib.suppress(OSError):
            send(client, path, 200 * MIB)
        response = client.response()
        assert (response.status, response.closes) == (413, True)
        assert response.headers["content-type"] == "application/problem+json"
        problem = json.loads(response.body)
        assert problem.pop("request_id") == service.logged("request", status=413)["request_id"]
        assert problem == {
            "type": "about:blank",
            "title": "Content Too Large",
            "status": 413,
            "detail": "the body of the request is larger than 1048576 bytes",
        }
        serves_others(service)
    assert memory(service) - before < 3 * MIB
    assert not service.lines(level="error")


def test_a_client_that_sends_it_all_first_is_not_reset(serve: Start) -> None:
    service = serve("tests.apps.edge", **PATIENT)
    with service.connect() as client:
        announced(client, "/body", 20 * MIB)
        assert client.response().status == 413
        assert client.ends()


def test_a_client_that_asks_first_sends_no_huge_body(serve: Start) -> None:
    service = serve("tests.apps.edge", **PATIENT)
    with service.connect() as client:
        client.send(b"POST /body HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n")
        client.send(b"content-length: 9000000\r\n\r\n")
        assert client.response().status == 413


def test_the_largest_body_and_that_of_a_route(serve: Start) -> None:
    service = serve("tests.apps.edge", **PATIENT)
    with service.connect() as client:
        assert client.post("/body", b"x" * MIB).body == str(MIB).encode()
        assert client.post("/upload", b"x" * 7 * MIB).body == str(7 * MIB).encode()
    with service.connect() as client:
        assert client.post("/upload", b"x" * 9 * MIB).status == 413
    unlimited = serve("tests.apps.edge", **PATIENT, APP_REQUESTS__BODY_BYTES="0")
    with unlimited.connect() as client:
        assert client.post("/body", b"x" * 5 * MIB).body == str(5 * MIB).encode()


@pytest.mark.parametrize("request_", [b"\x16\x03\x01 no HTTP\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_is_answered_400(serve: Start, request_: bytes) -> None:
    service = serve("tests.apps.edge")
    with service.connect() as client:
        client.send(request_)
        response = client.response()
        assert (response.status, response.closes) == (400, True)
        assert response.headers["content-type"] == "application/problem+json"
        assert json.loads(response.body)["title"] == "Bad Request"
    serves_others(service)
