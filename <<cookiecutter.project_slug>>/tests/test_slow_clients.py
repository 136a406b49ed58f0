"""Clients that are idle, slow or send too much are closed, and others are served meanwhile."""

import time

from tests.conftest import Start

QUICK = {
    "APP_REQUESTS__HEADER_SECONDS": "1",
    "APP_REQUESTS__STALL_SECONDS": "1",
    "APP_KEEP_ALIVE_SECONDS": "1",
}


def test_idle_and_silent_connections_are_closed(serve: Start) -> None:
    service = serve("tests.application", **QUICK)
    with service.connect() as idle, service.connect() as silent:
        for _ in range(2):
            assert idle.get("/hello").status == 200
        began = time.monotonic()
        assert idle.ends()
        assert 0.9 < time.monotonic() - began < 20
        assert silent.ends()


def test_a_slow_request_is_answered_408(serve: Start) -> None:
    service = serve("tests.application", **QUICK)
    with service.connect() as head, service.connect() as body, service.connect() as patient:
        patient.ask("/slow?seconds=4")
        head.send(b"GET /hello HTTP/1.1\r\nhost: ")
        body.send(b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
        for slow in (head, body):
            response = slow.response()
            assert (response.status, response.closes) == (408, True)
        assert patient.response().status == 200, "the handler is slow, not its client"


def test_a_client_that_does_not_read_is_closed(serve: Start) -> None:
    service = serve("tests.application", **QUICK)
    with service.connect() as client:
        client.ask("/flood")
        closed = service.logged("closed connections of slow clients")
        assert closed["write"] == 1
    assert service.get("/hello").status == 200, "what only sends has ended, too"


def test_requests_that_are_too_large_are_refused(serve: Start) -> None:
    service = serve("tests.application")
    with service.connect() as client:
        assert client.get("/hello", x="x" * 70_000).status == 431
    with service.connect() as client:
        response = client.post("/body", b"x" * 1024 * 1024 * 2)
        assert (response.status, response.closes) == (413, True)
    with service.connect() as client:
        assert client.post("/upload", b"x" * 1024 * 1024 * 2).status == 200
