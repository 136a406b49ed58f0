"""The three probes, while the loop turns and while it does not, and the checks behind readiness."""

import json
import time

import pytest

from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.wire import Connection


@pytest.mark.parametrize("name", ["startupz", "livez", "readyz"])
def test_they_answer_as_text_and_as_json(serve: Start, name: str) -> None:
    service = serve()
    text = service.probe(name)
    assert (text.status, text.body) == (200, b"ok\n")
    assert text.headers["content-type"].startswith("text/plain")
    answer = service.probe(name, accept="application/json")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["ok"] is True


def test_what_the_management_port_does_not_do(serve: Start) -> None:
    service = serve()
    assert service.probe("drain").status == 404
    assert service.probe("hello").status == 404
    with Connection(HOST, service.management_port) as connection:
        assert connection.post("/readyz", b"{}").status == 405


def test_a_draining_service_is_alive_and_not_ready(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="1")
    service.drain()
    answer = service.probe("readyz", accept="application/json")
    assert answer.status == 503
    assert json.loads(answer.body) == {"ok": False, "reason": "draining: received SIGTERM"}
    assert service.probe("livez").status == 200
    assert service.probe("startupz").status == 200
    assert service.get("/readyz").status == 503, "on the main port too"
    assert service.ended() == 0


def test_they_can_be_switched_off_on_the_main_port(serve: Start) -> None:
    service = serve(APP_PROBES__MAIN_PORT="false")
    assert service.get("/readyz").status == 404
    assert service.get("/livez").status == 404
    assert service.probe("readyz").status == 200


def _slowest(service: Service, probe: str, times: int = 20) -> float:
    spent = []
    for _ in range(times):
        began = time.monotonic()
        service.probe(probe)
        spent.append(time.monotonic() - began)
    return sorted(spent)[times * 3 // 4]


def test_a_blocked_loop_makes_it_unready_but_not_dead(serve: Start) -> None:
    service = serve(APP_PROBES__UNREADY_SECONDS="2")
    with service.connect() as connection:
        connection.ask("/block?seconds=10")
        service.busy(1)
        assert service.probe("readyz").status == 200, "not at once"
        eventually(lambda: service.probe("readyz").status == 503, "readyz to say no")
        assert b"event loop blocked" in service.probe("readyz").body
        assert service.probe("livez").status == 200
        assert _slowest(service, "readyz") < 1, "nominally below 50 ms"
        assert connection.response().status == 200
    eventually(lambda: service.probe("readyz").status == 200, "readyz to recover")
    service.signal()
    assert service.ended() == 0


def test_a_loop_blocked_beyond_the_stall_limit_is_dead(serve: Start) -> None:
    service = serve(APP_PROBES__STALL_SECONDS="0.5")
    with service.connect() as connection:
        connection.ask("/block?seconds=8")
        service.busy(1)
        eventually(lambda: service.probe("livez").status == 503, "livez to say no")
        assert connection.response().status == 200
    eventually(lambda: service.probe("livez").status == 200, "livez to recover")


def test_a_draining_service_with_a_blocked_loop_stays_alive(serve: Start) -> None:
    """A restart would only lose what is in flight."""
    service = serve(APP_PROBES__STALL_SECONDS="0.5")
    with service.connect() as connection:
        connection.ask("/block?seconds=10")
        service.busy(1)
        eventually(lambda: service.probe("livez").status == 503, "livez to say no")
        service.signal()
        eventually(lambda: service.probe("livez").status == 200, "the drain")
        assert service.status()["in_flight"] == 1, "only after the block"
        assert connection.response().closes
    assert service.ended() == 0


def test_a_gating_check_decides_on_readiness(serve: Start) -> None:
    service = serve("tests.apps.work")
    service.get("/check/gate/ill")
    eventually(lambda: service.probe("readyz").status == 503, "readyz to say no")
    answer = service.probe("readyz", accept="application/json")
    assert json.loads(answer.body)["reason"] == "check gate: PermissionError"
    assert service.probe("livez").status == 200
    service.get("/check/gate/well")
    eventually(lambda: service.probe("readyz").status == 200, "readyz to recover")
    service.logged("check recovered", check="gate")
    (line,) = service.lines("check failed")
    error = line["exception_type"], line["exception_message"]
    assert error == ("PermissionError", "password=[redacted]"), "in the log, and nowhere else"


def test_other_checks_only_show_in_the_status(serve: Start) -> None:
    service = serve("tests.apps.work")
    service.get("/check/shared/ill")
    eventually(lambda: service.status()["checks"]["shared"]["well"] is False, "the check")
    assert service.status()["checks"]["shared"]["error"] == "PermissionError"
    assert service.probe("readyz").status == 200
    assert b"hunter2" not in service.probe("statusz").body


def test_a_check_that_takes_too_long_is_ill(serve: Start) -> None:
    service = serve("tests.apps.work")
    service.get("/check/gate-slow/ill")
    eventually(lambda: service.probe("readyz").status == 503, "readyz to say no")
    assert service.probe("readyz").body == b"check gate: TimeoutError\n"
    assert service.get("/check/gate-slow/well").status == 200, "it still serves"
    eventually(lambda: service.probe("readyz").status == 200, "readyz to recover")


def test_the_status_shows_what_goes_on(serve: Start) -> None:
    service = serve()
    service.connect().ask("/slow?seconds=30")
    service.connect().ask("/events")
    service.busy(1)
    eventually(lambda: service.status()["streams"] == 1, "the stream")
    status = service.status()
    assert status["phase"] == "ready"
    assert status["ready"] is True
