"""What is in the way is named: at the end of each budget, and on SIGUSR1 at any time."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Start
from tests.harness import Service, eventually

APPLICATION = "tests.apps.stuck"
SHORT = {"APP_SHUTDOWN__LIMIT_SECONDS": "0.5", "APP_SHUTDOWN__STOP_SECONDS": "1"}
#: Seconds that a stop may take which gives up what does not end.
SOON = 30.0


def ask(service: Service, times: int = 1) -> None:
    """SIGUSR1, and wait until its list is complete."""
    service.signal(signal.SIGUSR1)
    eventually(lambda: len(service.lines("listed what is running")) >= times, "the list")


def named(service: Service, at: str, kind: str, name: str) -> dict[str, Any]:
    """The only such line."""
    (line,) = service.lines("still running", at=at, kind=kind, name=name)
    return line


def begin(service: Service, path: str) -> None:
    before = service.status()["in_flight"]
    service.connect().ask(path)
    service.busy(before + 1)


def test_a_blocked_loop_is_found_by_a_signal(serve: Start, tmp_path: Path) -> None:
    service, enough = serve(APPLICATION), tmp_path / "enough"
    service.connect().ask("/borrow?name=red")
    service.busy(1)
    with service.connect() as connection:
        connection.ask(f"/block?until={enough}")
        service.busy(2)
        ask(service)
        main = named(service, "SIGUSR1", "thread", "MainThread")
        assert any("stuck.py" in line and "in block" in line for line in main["where"])
        assert named(service, "SIGUSR1", "request", "GET /block")["seconds"] > 0
        assert named(service, "SIGUSR1", "connection", "red")["seconds"] > 0
        assert service.status()["phase"] == "ready"
        enough.touch()
        assert connection.response().status == 200, "it was not disturbed"
    assert service.get("/spawn").status == 200


def test_a_signal_lists_what_runs_with_its_age(serve: Start) -> None:
    service = serve(APPLICATION)
    service.get("/spawn")
    begin(service, "/thread")
    begin(service, "/borrow?name=red")
    eventually(lambda: service.status()["periodic_tasks"]["round"]["running"], "the round")
    ask(service)
    for kind, name, where in [
        ("task", "long", "in never_ending_task"),
        ("task", "round", "in never_ending_round"),
        ("request", "GET /borrow", "in borrow"),
        ("connection", "red", "in borrow"),
    ]:
        line = named(service, "SIGUSR1", kind, name)
        assert 0 < line["seconds"] < 60
        assert where in "".join(line["where"])
    (thread,) = [
        line
        for line in service.lines("still running", kind="thread")
        if line["name"].endswith(": GET /thread")
    ]
    assert 0 < thread["seconds"] < 60
    assert any("in thread" in line and "stuck.py" in line for line in thread["where"])
    names = [line["name"] for line in service.lines("still running")]
    assert "rare" not in names, "it waits for its round"
    assert not {"log", "signals", "management", "watchdog"} & set(names)


def test_two_signals_at_once_disturb_nothing(serve: Start) -> None:
    service = serve(APPLICATION)
    for _ in range(20):
        service.signal(signal.SIGUSR1)
    ask(service)
    ask(service, len(service.lines("listed what is running")) + 1)
    assert service.status()["phase"] == "ready"
    assert service.get("/spawn").status == 200
    assert not service.lines("hurry")


def test_the_status_shows_the_last_list(serve: Start) -> None:
    service = serve(APPLICATION)
    assert service.status()["still_running"] is None
    page = service.probe("statusz?format=html").body.decode()
    assert "Still running" not in page
    begin(service, "/borrow?name=%3Cred%3E")
    ask(service)
    found = service.status()["still_running"]
    assert found["at"] == "SIGUSR1"
    kinds = {(one["kind"], one["name"]) for one in found["found"]}
    assert {("request", "GET /borrow"), ("connection", "<red>")} <= kinds
    assert {type(one["seconds"]) for one in found["found"]} <= {float, type(None)}
    page = service.probe("statusz?format=html").body.decode()
    assert "Still running at SIGUSR1" in page
    assert "connection &lt;red&gt;" in page
    assert "somewhere.py:1 in borrow" in page


@pytest.mark.parametrize("held", ["hang", "raise"])
def test_a_component_that_cannot_say_what_it_holds_delays_nothing(serve: Start, held: str) -> None:
    service = serve(APPLICATION, HELD=held)
    begin(service, "/borrow?name=red")
    ask(service)
    assert named(service, "SIGUSR1", "request", "GET /borrow")
    if held == "raise":
        (line,) = service.lines("component does not say what it holds", component="store")
        assert "no idea" in line["error"]
    else:
        line = named(service, "SIGUSR1", "component", "store.held()")
        assert "in held" in "".join(line["where"])
    ask(service, 2)
    service.signal()
    service.logged("phase", phase="draining")


def test_the_end_of_the_drain_names_what_is_cut_off(serve: Start) -> None:
    service = serve(APPLICATION, **SHORT)
    begin(service, "/borrow?name=red")
    begin(service, "/thread")
    service.signal()
    assert service.ended(SOON) == 1
    assert "in borrow" in "".join(named(service, "drain", "request", "GET /borrow")["where"])
    assert 0 < named(service, "drain", "request", "GET /thread")["seconds"] < 60
    assert named(service, "drain", "connection", "red")
    threads = service.lines("still running", at="drain", kind="thread")
    assert [line["name"].partition(": ")[2] for line in threads] == ["GET /thread"]


def test_the_end_of_the_budget_of_tasks_names_them(serve: Start) -> None:
    service = serve(APPLICATION, **SHORT)
    service.get("/spawn")
    service.signal()
    assert service.ended(SOON) == 1
    line = named(service, "tasks", "task", "long")
    assert "in never_ending_task" in "".join(line["where"])
    assert 0 < line["seconds"] < 60


def test_the_end_of_the_budget_of_the_lifespan_says_where_it_is(serve: Start) -> None:
    service = serve(APPLICATION, LIFESPAN="hang", **SHORT)
    service.signal()
    assert service.ended(SOON) == 1
    lines = service.lines("still running", at="lifespan")
    assert any("in never_ending_lifespan" in "".join(line["where"]) for line in lines)


@pytest.mark.parametrize(("close", "where"), [("hang", "in never_closing"), ("thread", "wait")])
def test_the_end_of_the_budget_of_a_component_names_what_it_holds(
    serve: Start, close: str, where: str
) -> None:
    service = serve(APPLICATION, CLOSE=close, **SHORT)
    begin(service, "/borrow?name=red")
    service.signal()
    assert service.ended(SOON) == 1
    line = named(service, "component store", "component", "store")
    assert 0 < line["seconds"] < 30
    assert close == "thread" or where in "".join(line["where"])
    assert named(service, "component store", "connection", "red")
    threads = service.lines("still running", at="component store", kind="thread")
    assert [where in "".join(line["where"]) for line in threads] == ([True] * (close == "thread"))
    assert service.lines("component exceeded its budget", component="store")


def test_the_end_of_the_grace_period_names_everything(serve: Start, tmp_path: Path) -> None:
    service = serve(APPLICATION, APP_SHUTDOWN__GRACE_SECONDS="3", APP_SHUTDOWN__LIMIT_SECONDS="1")
    service.get("/spawn")
    begin(service, "/borrow?name=red")
    begin(service, f"/block?until={tmp_path / 'never'}")
    service.signal()
    assert service.ended(SOON) == 1
    main = named(service, "grace period", "thread", "MainThread")
    assert any("in block" in line for line in main["where"])
    assert named(service, "grace period", "connection", "red")
    assert named(service, "grace period", "request", "GET /borrow")
    assert named(service, "grace period", "task", "long")
