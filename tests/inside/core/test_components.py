"""Components in a running service: their order, their budgets, and what one failure may not do."""

import json
from typing import Any

import pytest

from tests.conftest import Start
from tests.harness import Service


def parts(**described: dict[str, Any]) -> dict[str, str]:
    return {"PARTS": json.dumps(described)}


def order(service: Service, event: str) -> list[str]:
    return [line["part"] for line in service.lines(event)]


CHAIN: dict[str, dict[str, Any]] = {
    "registry": {"needs": ["cache", "pool"]},
    "cache": {"needs": ["pool"]},
    "pool": {},
}


def test_they_open_after_and_close_before_what_they_need(serve: Start) -> None:
    service = serve("tests.apps.parts", **parts(**CHAIN))
    service.signal()
    assert service.ended() == 0
    assert order(service, "opened") == ["pool", "cache", "registry"]
    assert order(service, "closed") == ["registry", "cache", "pool"]
    assert service.lines("opening", part="registry")[0]["needed"] == ["cache", "pool"]
    assert set(service.report["components"]) == set(CHAIN)


def test_independent_ones_open_and_close_side_by_side(serve: Start) -> None:
    independent = {f"part{i}": {"open": 1.5, "close": 1.5} for i in range(5)}
    service = serve("tests.apps.parts", **parts(**independent))
    ready = service.logged("phase", phase="ready")
    assert 1.5 <= ready["elapsed"] < 6, "one after the other takes 7.5 s"
    service.signal()
    assert service.ended() == 0
    assert 1.5 <= service.report["seconds"]["stopping"] < 6
    assert all(seconds >= 1.5 for seconds in service.report["components"].values())


def test_one_that_fails_to_open_is_named_and_the_others_closed(start: Start) -> None:
    service = start(
        "tests.apps.parts", **parts(**CHAIN, queue={"needs": ["cache"], "open": "raise"})
    )
    assert service.ended() == 3
    (sentence,) = service.stderr.splitlines()
    assert sentence == "component 'queue' failed to open: OSError: no route to host"
    assert set(order(service, "closed")) == set(order(service, "opened")) >= {"pool", "cache"}
    assert service.lines("cannot start")


@pytest.mark.parametrize("how", ["hang", "deaf"])
def test_one_that_hangs_as_it_opens_is_given_up(start: Start, how: str) -> None:
    service = start(
        "tests.apps.parts",
        **parts(pool={}, queue={"needs": ["pool"], "open": how, "start_timeout": 0.5}),
    )
    assert service.ended() == 3
    (sentence,) = service.stderr.splitlines()
    assert sentence == "component 'queue' did not open within its 0.5 s"
    assert order(service, "closed") == ["pool"]


@pytest.mark.parametrize("how", ["hang", "deaf"])
def test_one_that_hangs_as_it_closes_is_left_behind(serve: Start, how: str) -> None:
    service = serve(
        "tests.apps.parts",
        **parts(pool={}, queue={"needs": ["pool"], "close": how, "stop_timeout": 0.5}),
    )
    service.signal()
    assert service.ended() == 1
    assert order(service, "closed") == ["pool"]
    assert "component queue" in service.report["cut"]
    assert service.lines("component exceeded its budget", component="queue")
    (line,) = service.lines("still running", kind="component", name="queue")
    assert any("parts.py" in line and "in behave" in line for line in line["where"])


def test_all_together_stay_within_the_budget(serve: Start) -> None:
    slow = {name: {"close": "hang", "stop_timeout": 60} for name in ("one", "two", "three")}
    slow["two"]["needs"] = ["one"]
    slow["three"]["needs"] = ["two"]
    service = serve("tests.apps.parts", **parts(**slow), APP_SHUTDOWN__STOP_SECONDS="1")
    service.signal()
    assert service.ended() == 1
    assert service.report["seconds"]["stopping"] < 20
    assert set(service.report["cut"]) == {"component one", "component two", "component three"}


def test_one_that_raises_as_it_closes_keeps_no_other_open(serve: Start) -> None:
    service = serve(
        "tests.apps.parts", **parts(pool={}, queue={"needs": ["pool"], "close": "raise"})
    )
    service.signal()
    assert service.ended() == 1
    assert order(service, "closed") == ["pool"]
    assert service.report["cut"] == ["component queue"]
    (line,) = service.lines("component failed to close")
    assert "no route to host" in line["exception"]


def test_a_second_signal_does_not_wait_for_them(serve: Start) -> None:
    service = serve(
        "tests.apps.parts",
        **parts(queue={"close": "hang", "stop_timeout": 60}),
        APP_SHUTDOWN__STOP_SECONDS="90",
        APP_SHUTDOWN__GRACE_SECONDS="150",
    )
    service.signal()
    service.logged("closing")
    service.signal()
    assert service.ended() == 1
    assert service.report["cut"] == ["component queue"]
