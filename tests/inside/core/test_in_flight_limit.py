"""A pod with a limit of requests in flight: what is served, what is shed, and what is left."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Start
from tests.harness import Service, eventually
from tests.wire import Connection, Response

APP = "tests.apps.overload"
ONE = {"APP_REQUESTS__MAX_IN_FLIGHT": "1", "APP_REQUESTS__QUEUE": "0"}
UPGRADE = {
    "connection": "upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}
WAITING = {
    "APP_REQUESTS__MAX_IN_FLIGHT": "1",
    "APP_REQUESTS__QUEUE": "2",
    "APP_REQUESTS__QUEUE_SECONDS": "30",
}


@pytest.fixture
def connections() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def state(service: Service, **expected: int) -> None:
    """Wait until the fields of the status are these."""

    def reached() -> bool:
        shedding = service.status()["shedding"]
        return all(shedding[name] == value for name, value in expected.items())

    eventually(reached, f"{expected}")


def shed_by(service: Service) -> dict[tuple[str, str], int]:
    """How many were shed, by reason and class, as Prometheus reads it."""
    sample = r'app_requests_shed_total\{reason="(\w+)",priority="(\w+)"\} (\d+)'
    text = service.probe("metrics").body.decode()
    return {(reason, of): int(count) for reason, of, count in re.findall(sample, text)}


def assert_shed(response: Response, *, closes: bool = False) -> None:
    assert (response.status, response.closes) == (503, closes)
    assert response.headers["retry-after"] == "1"
    assert response.headers["content-type"] == "application/problem+json"
    problem = json.loads(response.body)
    assert problem.pop("detail")
    assert problem.pop("request_id")
    assert problem == {"type": "about:blank", "title": "Service Unavailable", "status": 503}


def holding(service: Service, connection: Connection) -> None:
    """Take the only slot."""
    connection.ask("/hold")
    state(service, running=1)


def test_off_there_is_nothing_of_it(serve: Start) -> None:
    service = serve(APP)
    assert "shedding" not in service.status()
    assert b"requests_shed" not in service.probe("metrics").body
    assert b"in_flight_limit" not in service.probe("metrics").body


def test_above_the_limit_503_and_the_connection_stays_usable(serve: Start) -> None:
    service = serve(APP, **ONE)
    with service.connect() as holds, service.connect() as other:
        holding(service, holds)
        for _ in range(2):
            assert_shed(other.get("/work"))
        # The body of a request that is shed does not become the next request.
        assert_shed(other.post("/work", bytes(300_000)))
        assert service.get("/livez").status == service.get("/readyz").status == 200
        assert shed_by(service) == {("full", "normal"): 3}
        [line] = service.lines("shedding load")
        assert (line["level"], line["limit"], line["reason"]) == ("warning", 1, "full")
        holds.close()
        other.ask("/hold?seconds=0.01")
        assert_shed(other.response())  # the handler of a client that left goes on


def test_a_client_that_waits_for_100_continue_gets_the_end_of_its_connection(serve: Start) -> None:
    service = serve(APP, **ONE)
    with service.connect() as holds, service.connect() as other:
        holding(service, holds)
        other.ask("/work", "POST", expect="100-continue", content_length="5")
        assert_shed(other.response(), closes=True)
        assert other.ends()


def test_waiters_are_served_the_newest_first(serve: Start) -> None:
    service = serve(APP, **WAITING)
    with service.connect() as first, service.connect() as old, service.connect() as new:
        first.ask("/hold?seconds=1")
        state(service, running=1)
        old.ask("/hold?seconds=60")
        state(service, queued=1)
        new.ask("/work")
        state(service, queued=2)
        with service.connect() as more:
            assert_shed(more.get("/work"))
        assert new.response().status == 200  # the old one would hold the slot
        state(service, queued=0, running=1)


def test_a_waiter_is_dropped_after_a_while(serve: Start) -> None:
    service = serve(APP, **{**WAITING, "APP_REQUESTS__QUEUE_SECONDS": "0.1"})
    with service.connect() as holds, service.connect() as other:
        holding(service, holds)
        assert_shed(other.get("/work"))
        assert shed_by(service) == {("timeout", "normal"): 1}


def test_a_client_that_leaves_the_queue_leaves_no_trace(serve: Start) -> None:
    service = serve(APP, **WAITING)
    with service.connect() as holds, service.connect() as leaves:
        holding(service, holds)
        leaves.ask("/work")
        state(service, queued=1)
        leaves.close()
        state(service, queued=0, running=1)
        service.busy(1)
        assert shed_by(service) == {}
        line = service.logged("request", path="/work")
        assert (line["status"], line["ended_by"]) == (499, "client")


@pytest.mark.parametrize("path", ["/events", "/socket"])
def test_a_stream_gives_its_slot_back(serve: Start, path: str) -> None:
    service = serve(APP, **ONE)
    upgrade = UPGRADE if path == "/socket" else {}
    with service.connect() as stream, service.connect() as other:
        stream.ask(path, "GET", b"", **upgrade)
        assert stream.head().status in (101, 200)
        state(service, running=0)
        assert service.status()["streams"] == 1
        assert other.get("/work").status == 200
        holding(service, other)
        with service.connect() as late:
            late.ask(path, "GET", b"", **upgrade)
            assert_shed(late.response(), closes=path == "/socket")


#: Each class with its request, and how many of four slots it fills after the ones above it.
BY_HEADER = {"low": ("GET", 2), "normal": ("GET", 1), "high": ("GET", 1)}
BY_METHOD = {"low": ("GET", 2), "high": ("POST", 2)}


@pytest.mark.parametrize(
    ("by", "classes"), [("header", BY_HEADER), ("method", BY_METHOD)], ids=["header", "method"]
)
def test_low_requests_are_shed_first(
    serve: Start, connections: ExitStack, by: str, classes: dict[str, tuple[str, int]]
) -> None:
    service = serve(
        APP,
        APP_REQUESTS__MAX_IN_FLIGHT="4",
        APP_REQUESTS__QUEUE="0",
        APP_REQUESTS__PRIORITY=by,
        APP_REQUESTS__PRIORITY_HEADER="Importance",
        APP_REQUESTS__RESERVED_SHARE="0.5",
    )
    running = 0
    for name, (method, slots) in classes.items():
        for _ in range(slots):
            holds = connections.enter_context(service.connect())
            holds.ask("/hold", method, importance=name)
            running += 1
            state(service, running=running)
        one_more = connections.enter_context(service.connect())
        one_more.ask("/work", method, importance=name)
        assert_shed(one_more.response())
    assert shed_by(service) == {("full", name): 1 for name in classes}


@pytest.mark.parametrize("limit", ["1", "10"])
def test_a_stop_serves_those_who_wait(serve: Start, limit: str) -> None:
    service = serve(APP, **WAITING, APP_SHUTDOWN__LIMIT_SECONDS=limit)
    with service.connect() as first, service.connect() as waits:
        first.ask("/hold?seconds=1.2")
        state(service, running=1)
        waits.ask("/work")
        state(service, queued=1)
        service.drain()
        assert service.status()["in_flight"] == 2
        assert first.response().status == waits.response().status == 200
        assert service.ended() == 0
    assert service.report["requests_served"] == 2
    assert service.report["requests_cut"] == []


def test_a_waiter_that_is_cut_off_gets_503(serve: Start) -> None:
    service = serve(APP, **WAITING, APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    with service.connect() as first, service.connect() as waits:
        holding(service, first)
        waits.ask("/work")
        state(service, queued=1)
        service.signal()
        assert first.response().status == waits.response().status == 503
        service.ended()
    assert sorted(service.report["requests_cut"]) == ["GET /hold", "GET /work"]
