"""Each step of a stop keeps a share of its seconds that no step before it can take."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle.budget import FOR_THE_REPORT, SHARES, Budget
from app.lifecycle.phase import Lifecycle
from tests.conftest import Start

#: Seconds that a stop may take which waits for little.
SOON = 30.0
FLUSH = {"pool": {"close": 0.3}}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def stopping(seconds: float, grace: float) -> tuple[Budget, Clock]:
    clock = Clock()
    lifecycle = Lifecycle(grace, clock)
    lifecycle.drain("test")
    return Budget(lifecycle, seconds, clock), clock


@given(st.lists(st.floats(0, 1), min_size=len(SHARES), max_size=len(SHARES)))
def test_whatever_the_others_take_a_step_keeps_its_share(greed: list[float]) -> None:
    budget, clock = stopping(5, 60)
    for name, part in zip(SHARES, greed, strict=True):
        with budget.step(name) as seconds:
            assert seconds >= 5 * SHARES[name] - 1e-6
            clock.now += seconds * part
    assert clock.now <= 105 + 1e-6


def test_what_is_left_of_a_short_grace_is_divided_as_the_shares_are() -> None:
    budget, clock = stopping(5, 60)
    budget.lifecycle.shorten(2, "test")
    usable = budget.lifecycle.watchdog_at - clock.now - FOR_THE_REPORT
    for name, share in SHARES.items():
        with budget.step(name) as seconds:
            assert seconds == pytest.approx(usable * share)
            clock.now += seconds


def test_what_is_reserved_is_for_components_and_the_first_to_be_lost() -> None:
    budget, clock = stopping(65, 120)
    budget.reserved = 60
    assert budget.left("requests") == pytest.approx(5 * SHARES["requests"])
    assert budget.left("components") == pytest.approx(65 - 5 * SHARES["leftovers"])
    budget.lifecycle.shorten(2, "test")
    usable = budget.lifecycle.watchdog_at - clock.now - FOR_THE_REPORT
    assert budget.left("requests") == pytest.approx(usable * SHARES["requests"])
    clock.now = 110.0
    assert budget.left("components") == 0


def test_a_component_within_its_own_budget_overran_nothing() -> None:
    budget, clock = stopping(65, 120)
    budget.reserved = 60
    with budget.step("components"):
        clock.now += 61
    assert budget.overran() == {}


def test_the_report_says_who_took_whose() -> None:
    budget, clock = stopping(10, 60)
    taken = {"requests": 0.5, "tasks": 0.0, "lifespan": 4.0, "components": 1.0}
    for name, seconds in taken.items():
        with budget.step(name):
            clock.now += seconds
    assert budget.overran() == {
        "lifespan": "4.00 s, 2.50 s above its share (left by requests, tasks)"
    }


def test_a_component_keeps_its_time_when_the_lifespan_hangs(serve: Start) -> None:
    service = serve(
        "tests.apps.lifespan",
        LIFESPAN="ends for ever",
        PARTS=json.dumps(FLUSH),
        APP_SHUTDOWN__STOP_SECONDS="3",
    )
    service.signal()
    assert service.ended(SOON) == 1
    assert service.lines("closed", part="pool")
    assert service.report["cut"] == ["the application's lifespan"]
    assert "above its share" in service.report["overran"]["lifespan"]
    assert service.lines("step exceeded its share", step="lifespan")


def test_a_component_keeps_its_time_when_one_that_needs_it_hangs(serve: Start) -> None:
    parts = {"queue": {"needs": ["pool"], "close": "hang", "stop_timeout": 60}, **FLUSH}
    service = serve("tests.apps.parts", PARTS=json.dumps(parts), APP_SHUTDOWN__STOP_SECONDS="3")
    service.signal()
    assert service.ended(SOON) == 1
    assert service.lines("closed", part="pool")
    assert service.report["cut"] == ["component queue"]


def test_a_component_keeps_its_time_when_a_second_signal_hurries(serve: Start) -> None:
    service = serve(
        "tests.apps.lifespan",
        LIFESPAN="ends for ever",
        PARTS=json.dumps(FLUSH),
        APP_SHUTDOWN__STOP_SECONDS="90",
        APP_SHUTDOWN__GRACE_SECONDS="150",
    )
    service.signal()
    service.logged("lifespan", step="ends")
    service.signal()
    assert service.ended(SOON) == 1
    assert service.lines("closed", part="pool")
    assert service.report["cut"] == ["the application's lifespan"]


def test_all_that_hangs_together_stays_within_the_sum(serve: Start) -> None:
    parts = {name: {"close": "deaf", "stop_timeout": 60} for name in ("one", "two")}
    service = serve(
        "tests.apps.lifespan",
        LIFESPAN="ends for ever",
        PARTS=json.dumps(parts),
        APP_SHUTDOWN__STOP_SECONDS="4",
    )
    service.signal()
    assert service.ended(SOON) == 1
    assert service.report["seconds"]["stopping"] < 4 + 10
