"""How long a request may take: the shortest of all rules, and what it hands on."""

import json
from typing import Any

import pytest

from app.lifecycle import deadline
from app.lifecycle.http.deadlines import wanted_by_caller
from tests.conftest import Start
from tests.harness import Service, eventually
from tests.overdue import APP, SOON

# -- who sets it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 9),
        ({"x_request_timeout": "2.5"}, 2.5),
        ({"x_request_timeout": "100"}, 9),
        ({"prefer": "respond-async, wait=4"}, 4),
        ({"grpc_timeout": "3500m"}, 3.5),
        ({"x_envoy_expected_rq_timeout_ms": "1500"}, 1.5),
        ({"grpc_timeout": "7S", "prefer": "wait=3"}, 3),
        ({"x_request_timeout": "soon"}, 9),
        ({"x_request_timeout": "-1"}, 9),
        ({"x_request_timeout": "0"}, 9),
        ({"x_request_timeout": "nan"}, 9),
        ({"grpc_timeout": "5"}, 9),
        ({"prefer": "awaits=1"}, 9),
    ],
)
@pytest.mark.parametrize("path", ["/plain?seconds=0", "/thread?seconds=0", "/to-thread"])
def test_the_shortest_of_all_counts(
    shared: Service, path: str, headers: dict[str, str], seconds: float
) -> None:
    left = float(shared.get(path, **headers).body)
    assert seconds - 2 < left <= seconds


@pytest.fixture(scope="module")
def shared() -> Any:
    from tests.harness import running

    with running(APP, APP_REQUESTS__TIMEOUT_SECONDS="9") as service:
        yield service.ready()


def test_a_route_that_needs_longer(serve: Start) -> None:
    service = serve(APP, **SOON)
    answer = service.get("/unlimited?seconds=1")
    assert (answer.status, answer.body) == (200, b'"inf"')


def test_a_drain_shortens_it(serve: Start) -> None:
    service = serve(APP, APP_SHUTDOWN__LIMIT_SECONDS="5", APP_REQUESTS__TIMEOUT_SECONDS="")
    with service.connect() as connection:
        assert json.loads(service.get("/plain?seconds=0").body) > 3
        connection.ask("/unlimited?seconds=1.5")
        service.busy(1)
        service.drain()
        assert 2 < float(json.loads(connection.response().body)) <= 4
    assert service.ended() == 0


@pytest.mark.parametrize(
    ("limit", "timeout", "left"), [("7", "", 7), ("7", "3", 3), ("7", "0", float("inf"))]
)
def test_the_default_is_what_a_stop_would_give(
    serve: Start, limit: str, timeout: str, left: float
) -> None:
    service = serve(APP, APP_SHUTDOWN__LIMIT_SECONDS=limit, APP_REQUESTS__TIMEOUT_SECONDS=timeout)
    body = service.get("/to-thread").body
    found = float("inf") if body == b"null" else float(body)
    assert left - 2 < found <= left or found == left


def test_a_default_above_the_limit_is_refused(start: Start) -> None:
    service = start(APP, APP_SHUTDOWN__LIMIT_SECONDS="7", APP_REQUESTS__TIMEOUT_SECONDS="8")
    assert service.ended() != 0
    assert (
        "APP_REQUESTS__TIMEOUT_SECONDS=8 is above APP_SHUTDOWN__LIMIT_SECONDS=7" in service.stderr
    )


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("grpc-timeout", "99999999H", 99999999 * 3600),
        ("grpc-timeout", "1n", 1e-9),
        ("grpc-timeout", "100000000S", None),
        ("prefer", 'wait="10"', 10),
        ("prefer", "wait=10; x=1", 10),
        ("prefer", "wait = 10", 10),
        ("x-request-timeout", "1e3", None),
        ("x-request-timeout", "1" * 400, None),
    ],
)
def test_what_callers_may_write(name: str, value: str, seconds: float | None) -> None:
    found = wanted_by_caller([(name.encode(), value.encode())])
    assert found == (float("inf") if seconds is None else seconds)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_route_without_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="must be above 0 seconds"):
        deadline.timeout(seconds)


def test_outside_of_a_request() -> None:
    assert deadline.remaining() == float("inf")
    assert not deadline.expired()
    assert deadline.reason() == ""
    deadline.raise_if_expired()


def test_a_call_takes_no_longer_and_tells_how_long(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask("/call", x_request_timeout="20")
        found = json.loads(connection.response().body)
        assert 5 < float(found["told"]) < 20
        assert set(found["limits"]) == {"connect", "read", "write", "pool"}
        assert all(5 < seconds < 20 for seconds in found["limits"].values())
        unlimited = json.loads(connection.get("/call").body)
        assert unlimited["told"] is None
        assert set(unlimited["limits"].values()) == {60}


def test_the_example_calls_another_route_with_the_rest_of_its_time(serve: Start) -> None:
    service = serve("")
    assert json.loads(service.get("/relay?seconds=0.1").body) == {"slept": 0.1}
    with service.connect() as connection:
        connection.ask("/relay?seconds=30", x_request_timeout="0.4")
        assert connection.response().status == 504
    assert not service.lines(level="error")
    # By its own deadline or because its client has left, whichever is first.
    eventually(lambda: service.status()["requests_cancelled"], "the called route to be cancelled")
