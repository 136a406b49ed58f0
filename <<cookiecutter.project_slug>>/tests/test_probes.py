"""What the kubelet is told: started, alive, ready."""

import json

from tests.conftest import Start
from tests.harness import eventually

APPLICATION = "tests.application"


def test_a_ready_service_passes_all_three(serve: Start) -> None:
    service = serve(APPLICATION)
    for probe in ("startupz", "livez", "readyz"):
        assert service.probe(probe).status == 200
    assert service.get("/readyz").status == 200, "on the main port too"


def test_a_draining_service_is_alive_and_not_ready(serve: Start) -> None:
    service = serve(APPLICATION, APP_SHUTDOWN__FLOOR_SECONDS="1")
    service.drain()
    answer = service.probe("readyz", accept="application/json")
    assert answer.status == 503
    assert json.loads(answer.body) == {"ok": False, "reason": "draining: received SIGTERM"}
    assert service.probe("livez").status == 200
    assert service.get("/readyz").status == 503
    assert service.ended() == 0


def test_a_blocked_event_loop_is_unready_before_it_is_dead(serve: Start) -> None:
    service = serve(APPLICATION, APP_PROBES__UNREADY_SECONDS="0.5", APP_PROBES__STALL_SECONDS="2")
    with service.connect() as connection:
        connection.ask("/block?seconds=8")
        eventually(lambda: service.probe("readyz").status == 503, "readyz to fail")
        assert b"event loop" in service.probe("readyz").body
        eventually(lambda: service.probe("livez").status == 503, "livez to fail")
        assert connection.response().status == 200
    eventually(lambda: service.probe("readyz").status == 200, "readyz to recover")


def test_a_gating_check_decides_on_readiness(serve: Start) -> None:
    service = serve(APPLICATION)
    service.get("/check/fail")
    eventually(lambda: service.probe("readyz").status == 503, "readyz to fail")
    assert service.probe("readyz").body == b"check gate: ConnectionError\n"
    assert service.probe("livez").status == 200
    assert b"a secret" not in service.probe("statusz").body
    service.get("/check/pass")
    eventually(lambda: service.probe("readyz").status == 200, "readyz to recover")


def test_the_status_shows_what_is_in_flight(serve: Start) -> None:
    service = serve(APPLICATION)
    service.connect().ask("/slow?seconds=30")
    service.connect().ask("/events")
    service.busy(1)
    eventually(lambda: service.status()["streams"] == 1, "the stream")
    assert service.status()["phase"] == "ready"
    assert service.status()["checks"].keys() == {"gate"}
    page = service.probe("statusz", accept="text/html,*/*;q=0.8").body.decode()
    assert "<title>ready · " in page
    assert all(part in page for part in ("/slow", "/events", "gate", "queue", "APP_PORT"))


def test_nothing_on_the_management_port_drains_the_service(serve: Start) -> None:
    service = serve(APPLICATION)
    assert service.probe("drain").status == 404
    assert service.probe("hello").status == 404
