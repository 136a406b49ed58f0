"""Failures of the service's own parts: the application's lifespan, a component, periodic work."""

import pytest

from tests.conftest import Start
from tests.harness import Service, eventually

#: Seconds that a stop may take which waits for nothing.
SOON = 30.0
LONG = {"APP_SHUTDOWN__STOP_SECONDS": "90", "APP_SHUTDOWN__GRACE_SECONDS": "150"}


def test_a_lifespan_that_fails_is_said_in_one_sentence(start: Start) -> None:
    service = start("tests.apps.lifespan", LIFESPAN="fails")
    assert service.ended() == 3
    (sentence,) = service.stderr.splitlines()
    assert sentence == "the application's lifespan failed to start"
    assert service.lines("cannot start", reason=sentence)
    assert "LookupError: no such model" in service.stdout


@pytest.mark.parametrize(
    ("lifespan", "logged"),
    [
        ("is broken", "the application's lifespan failed"),
        ("is ignored", "the application returned before its lifespan startup was complete"),
    ],
)
def test_nothing_is_served_without_the_lifespan(start: Start, lifespan: str, logged: str) -> None:
    service = start("tests.apps.lifespan", LIFESPAN=lifespan)
    assert service.ended() == 3
    assert service.stderr.splitlines() == ["the application's lifespan failed to start"]
    assert service.lines(logged)
    assert not service.lines("phase", phase="ready")


def test_a_lifespan_that_ends_by_itself_ends_the_service(start: Start) -> None:
    service = start("tests.apps.lifespan", LIFESPAN="dies")
    service.logged("phase", phase="ready")
    assert service.ended() == 1
    assert service.report["reason"] == "the application's lifespan ended by itself"
    assert service.report["cut"] == ["the application's lifespan"]
    assert "LookupError: the connection is lost" in service.stdout


def test_a_signal_while_the_lifespan_starts(start: Start) -> None:
    service = start("tests.apps.lifespan", LIFESPAN="starts for ever", **LONG)
    service.logged("lifespan", step="starts")
    service.signal()
    assert service.ended(SOON) == 0
    assert not service.lines("phase", phase="ready")
    assert service.report["reason"] == "received SIGTERM"
    assert service.report["cut"] == []


def test_the_second_signal_ends_a_lifespan_that_hangs(serve: Start) -> None:
    service = serve("tests.apps.lifespan", LIFESPAN="ends for ever", **LONG)
    service.signal()
    service.logged("lifespan", step="ends")
    service.signal()
    assert service.ended(SOON) == 1
    assert service.report["cut"] == ["the application's lifespan"]


def test_a_component_that_ends_by_itself_ends_the_service(start: Start) -> None:
    service = start(
        "tests.apps.parts", PARTS='{"consumer": {"needs": ["pool"], "dies": 1.5}, "pool": {}}'
    )
    service.logged("phase", phase="ready")
    assert service.ended() == 1
    reason = "component consumer ended unexpectedly"
    assert service.lines("phase", phase="draining")[0]["reason"] == reason
    assert service.report["reason"] == reason
    assert "component consumer" in service.report["cut"]
    assert [line["part"] for line in service.lines("closed")] == ["pool"]


def pulses(service: Service) -> int:
    return len(service.lines("pulse"))


def ready(service: Service) -> bool:
    return service.probe("readyz").status == 200


def failures(service: Service) -> int:
    return int(service.status()["task_failures"].get("pulse", 0))


def test_work_that_waits_for_something_cancelled_goes_on(serve: Start) -> None:
    service = serve("tests.apps.cancelled")
    service.logged("pulse")
    assert service.get("/break").status == 200
    eventually(lambda: not ready(service), "the check to fail")
    eventually(lambda: failures(service) >= 2, "two failures")
    assert service.get("/mend").status == 200
    eventually(lambda: ready(service), "the check to recover")
    seen = pulses(service)
    eventually(lambda: pulses(service) >= seen + 2, "two more rounds")
    service.signal()
    assert service.ended(SOON) == 0
    assert service.report["cut"] == []
