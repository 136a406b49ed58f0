"""Background work: rounds never overlap, failures are counted, and the end has a budget."""

import pytest

from tests.conftest import Start
from tests.harness import eventually


def test_rounds_do_not_overlap(serve: Start) -> None:
    service = serve("tests.apps.work")
    eventually(lambda: len(service.lines("round")) >= 6, "three rounds")
    steps = [line["step"] for line in service.lines("round")][:6]
    assert steps == ["begin", "end"] * 3


def test_the_round_under_way_finishes_and_no_other_begins(serve: Start) -> None:
    service = serve("tests.apps.work", APP_SHUTDOWN__FLOOR_SECONDS="1.5")
    service.logged("round", step="begin")
    service.drain()
    assert service.ended() == 0
    steps = [line["step"] for line in service.lines("round")]
    assert steps.count("begin") == steps.count("end")
    begun = [line["phase"] for line in service.lines("round", step="begin")]
    assert "draining" not in begun
    assert service.report["tasks_finished"] == 2, "with the one whose next round is far away"
    assert service.report["tasks_cut"] == []
    assert service.report["seconds"]["total"] < 15


def test_spawned_work_goes_on_through_the_drain(serve: Start) -> None:
    service = serve("tests.apps.work", APP_SHUTDOWN__STOP_SECONDS="8")
    assert service.get("/spawn/short").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.lines("nap over")
    assert service.report["tasks_finished"] == 3, "the nap and the two that come in rounds"


def test_a_failure_is_logged_and_counted(serve: Start) -> None:
    service = serve("tests.apps.work")
    service.get("/spawn/failing")
    line = service.logged("task failed", task="failing")
    assert "LookupError: lost" in line["exception"]
    assert service.status()["task_failures"] == {"failing": 1}
    assert service.get("/spawn/short").status == 200, "the service goes on"
    assert "short" in service.status()["tasks"]
    service.signal()
    assert service.ended() == 0


@pytest.mark.parametrize("name", ["long", "deaf"])
def test_what_overruns_is_cancelled_with_the_reason_and_named(serve: Start, name: str) -> None:
    service = serve("tests.apps.work", APP_SHUTDOWN__STOP_SECONDS="2")
    service.get(f"/spawn/{name}")
    service.signal()
    assert service.ended() == 1
    assert service.report["tasks_cut"] == [name]
    assert f"task {name}" in service.report["cut"]
    if name == "long":
        assert "received SIGTERM" in service.lines("nap cancelled")[0]["why"]
    else:
        (line,) = service.lines("task did not respond to cancellation")
        assert "in ignore_all" in "".join(line["where"])


def test_a_second_signal_ends_their_budget(serve: Start) -> None:
    service = serve(
        "tests.apps.work", APP_SHUTDOWN__STOP_SECONDS="90", APP_SHUTDOWN__GRACE_SECONDS="150"
    )
    service.get("/spawn/long")
    service.signal()
    service.logged("stop", step="listener and connections closed")
    service.signal()
    assert service.ended() == 1
    assert service.report["tasks_cut"] == ["long"]
