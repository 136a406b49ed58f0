"""A stop: readiness goes false, requests finish, and the report says what was cut off."""

import pytest

from tests.conftest import Start
from tests.harness import PATIENCE

APPLICATION = "tests.application"


def test_an_idle_service_stops_at_once(serve: Start) -> None:
    service = serve(APPLICATION)
    with service.connect() as idle:
        assert idle.get("/hello").status == 200
        service.signal()
        assert idle.ends(), "closed cleanly, not reset"
    assert service.ended() == 0
    assert service.seconds() < 8
    assert service.report["reason"] == "received SIGTERM"
    assert service.stderr == ""


@pytest.mark.parametrize("path", ["/slow", "/thread"])
def test_a_request_in_flight_finishes(serve: Start, path: str) -> None:
    service = serve(APPLICATION)
    with service.connect() as connection:
        connection.ask(f"{path}?seconds=1")
        service.busy(1)
        service.signal()
        answer = connection.response()
        assert (answer.status, answer.closes) == (200, True)
        assert connection.ends()
    assert service.ended() == 0
    assert service.report["requests_served"] == 1
    assert service.report["requests_cut"] == []


def test_late_requests_are_served(serve: Start) -> None:
    """Routers that have not heard of the stop still open connections."""
    service = serve(APPLICATION, APP_SHUTDOWN__FLOOR_SECONDS="1")
    service.drain()
    for _ in range(4):
        answer = service.get("/hello")
        assert (answer.status, answer.closes) == (200, True)
    assert service.ended() == 0
    assert service.report["requests_served"] == 4


def test_background_work_finishes(serve: Start) -> None:
    service = serve(APPLICATION)
    assert service.get("/background?seconds=1").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.report["seconds"]["draining"] > 0.5


def test_a_request_longer_than_the_limit_is_cut_and_named(serve: Start) -> None:
    service = serve(APPLICATION, APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    with service.connect() as connection:
        connection.ask("/slow?seconds=60")
        service.busy(1)
        service.signal()
        answer = connection.response()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert connection.ends()
    assert service.ended() == 1
    assert service.seconds() < 20
    assert service.report["requests_cut"] == ["GET /slow"]


def test_a_second_signal_ends_the_waits(serve: Start) -> None:
    long = {f"APP_SHUTDOWN__{name}_SECONDS": "150" for name in ("FLOOR", "LIMIT")}
    service = serve(APPLICATION, **long, APP_SHUTDOWN__GRACE_SECONDS="300")
    service.drain()
    service.signal()
    assert service.ended() == 0
    assert service.seconds() < PATIENCE


def test_the_prestop_hook_returns_when_the_service_has_drained(serve: Start) -> None:
    service = serve(APPLICATION, APP_SHUTDOWN__FLOOR_SECONDS="1")
    out, err = service.prestop().communicate(timeout=PATIENCE)
    first, *_, last = out.splitlines()
    assert "draining: preStop hook" in first
    assert last == "drained: nothing was cut off"
    assert err == ""
    assert service.ended() == 0
    assert service.report["reason"] == "preStop hook"


def test_a_signal_after_the_hook_joins_its_stop(serve: Start) -> None:
    service = serve(APPLICATION, SECONDS_TO_CLOSE="1")
    assert service.prestop().wait(PATIENCE) == 0
    service.signal()
    assert service.ended() == 0
    assert service.report["reason"] == "preStop hook"


def test_the_hook_fails_with_what_was_cut_off(serve: Start) -> None:
    service = serve(APPLICATION, APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    service.connect().ask("/slow?seconds=60")
    service.busy(1)
    hook = service.prestop()
    assert "GET /slow" in hook.communicate(timeout=PATIENCE)[1]
    assert hook.returncode == 1
    assert service.ended() == 1


def test_tasks_and_components_end_after_the_requests(serve: Start) -> None:
    service = serve(APPLICATION)
    service.get("/spawn?seconds=0.5")
    service.logged("refreshed")
    service.signal()
    assert service.ended() == 0
    assert [line["component"] for line in service.lines("closed")] == ["queue", "database"]
    assert service.report["cut"] == []


def test_a_component_that_overruns_its_budget_is_cut_and_named(serve: Start) -> None:
    service = serve(APPLICATION, SECONDS_TO_CLOSE="60", APP_SHUTDOWN__STOP_SECONDS="1")
    service.signal()
    assert service.ended() == 1
    assert set(service.report["cut"]) == {"component queue", "component database"}


def test_a_task_that_does_not_end_is_cut_and_named(serve: Start) -> None:
    service = serve(APPLICATION, APP_SHUTDOWN__STOP_SECONDS="1")
    service.get("/spawn?seconds=60")
    service.signal()
    assert service.ended() == 1
    assert service.report["cut"] == ["task nap"]
