"""A stop with nothing to do, and what must not hold it up."""

import signal

import pytest

from tests.conftest import Start

#: Nominally well below half a second; a busy machine takes its time.
QUICK = 8.0


def test_an_idle_service_stops_at_once(serve: Start) -> None:
    service = serve()
    service.signal()
    assert service.seconds() < QUICK
    assert service.ended() == 0
    assert service.report["reason"] == "received SIGTERM"
    assert service.report["exit_code"] == 0
    assert service.report["seconds"]["total"] < 5
    assert service.stderr == ""


def test_ctrl_c_stops_it_as_well(serve: Start) -> None:
    service = serve()
    service.signal(signal.SIGINT)
    assert service.ended() == 0
    assert service.report["reason"] == "received SIGINT"


def test_the_floor_is_respected(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="1.5")
    service.drain()
    assert service.get("/hello").status == 200
    assert 1.5 <= service.seconds() < 1.5 + QUICK
    assert service.ended() == 0
    assert 1.5 <= service.report["seconds"]["draining"] < 1.5 + QUICK


@pytest.mark.parametrize("count", [1, 20])
def test_idle_kept_connections_are_closed_cleanly(serve: Start, count: int) -> None:
    service = serve(APP_SHUTDOWN__STOP_SECONDS="90", APP_SHUTDOWN__GRACE_SECONDS="150")
    connections = [service.connect() for _ in range(count)]
    for connection in connections:
        assert not connection.get("/hello").closes
    service.signal()
    assert all(connection.ends() for connection in connections)
    assert service.seconds() < QUICK
    assert service.ended() == 0
    assert service.report["seconds"]["stopping"] < QUICK, "closed, not given up"


def test_silent_connections_hold_it_up_no_longer_than_quiet(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__QUIET_SECONDS="1")
    connections = [service.connect() for _ in range(3)]
    service.signal()
    assert all(connection.ends() for connection in connections)
    assert service.seconds() < 1 + QUICK
    assert service.ended() == 0


def test_half_a_request_is_no_request(serve: Start) -> None:
    service = serve()
    with service.connect() as connection:
        connection.send(b"GET /hello HTTP/1.1\r\nhost: te")
        service.signal()
        assert connection.ends()
    assert service.seconds() < QUICK


def test_phases_are_logged_once_each_in_order(serve: Start) -> None:
    service = serve()
    service.signal()
    assert service.ended() == 0
    phases = [line["phase"] for line in service.lines("phase")]
    assert phases == ["ready", "draining", "stopping", "stopped"]
    assert all(line["elapsed"] >= 0 and line["reason"] for line in service.lines("phase"))
    assert service.lines()[-1] == service.report
