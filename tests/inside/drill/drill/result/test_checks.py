"""The checks of a scenario: what passes, and which sentence names what does not."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from drill.errors import DrillError
from drill.load.ledger import Kind, Ledger, Lost, Reason, Sample, Slow
from drill.load.routes import Routes
from drill.plan import Plan
from drill.record import Event, Timeline
from drill.result import checks
from drill.result.case import View
from drill.result.lanes import Span
from drill.scenarios import crowds
from drill.scenarios.canary import Canary, Step
from tests.drill.result.made import BUDGETS, LANE

LIVE = replace(LANE, seen=(Span("used", 0, 40),), told_at=None, closed_at=None)

PODS = {
    name: replace(LANE.pod, name=name, canary=name == "canary") for name in ("stable", "canary")
}


def view_of(scenario: Any, ledger: Ledger, lane: Any = LIVE, **marks: float) -> View:
    timeline = Timeline()
    timeline.events = [Event(at, what.replace("_", " ")) for what, at in marks.items()]
    rehearsal: Any = SimpleNamespace(
        scenario=scenario,
        plan=Plan(),
        ledger=ledger,
        timeline=timeline,
        disturbance=(2.0, 30.0),
        pods=[PODS[name] for name in ("stable", "canary")],
    )
    return View(rehearsal, BUDGETS, {lane.name: lane})


def faults(view: View) -> str:
    return "\n".join(check.fault for check in checks.of(view) if not check.passed)


def overload(
    *, shed: int = 80, took: float = 0.6, refused: float = 0.1, back: float = 0.5, lane: Any = LIVE
) -> str:
    """20 requests a second served from 10 s to 20 s, ``shed`` more are not."""
    ledger = Ledger(lambda: 0.0)
    spans = ((0, 10, 4, 0.5, 0), (10, 20, 20, took, shed), (20, 30, 4, back, 0))
    for begin, end, rate, seconds, more in spans:
        for second in range(begin, end):
            samples = [Sample(Kind.NEW, "b", second, second + seconds)] * rate
            samples += [Sample(Kind.NEW, "b", second, second + refused, shed=True)] * more
            ledger.samples += samples
    return faults(
        view_of(crowds.Overload(), ledger, lane, overload_begins=10.0, overload_ends=20.0)
    )


def slow_clients(*, took: float = 0.01, stayed: float = 5.0, left: float = 4.0) -> str:
    ledger = Ledger(lambda: 0.0)
    for second, seconds in [(second, took if second >= 10 else 0.01) for second in range(30)]:
        ledger.samples += [Sample(Kind.KEPT, "b", second, second + seconds)] * 50
    ledger.slow_closed[Slow.HEADERS] = [4.0, stayed]
    ledger.slow_left[Slow.READER] = [left]
    marks = {"slow_clients_arrive": 10.0, "update_beside_them": 21.0}
    return faults(view_of(crowds.SlowClients(), ledger, **marks))


def canary(
    *,
    got: int = 50,
    lost: int = 12,
    stable: int = 0,
    cut: int = 0,
    after: int = 0,
    back: float = 22,
) -> str:
    """1,000 requests at 5 % from 10 s to 20 s, 200 until it is taken back; seen at 20 s."""
    ledger = Ledger(lambda: 0.0)
    error, reset = Lost(Reason.STATUS, "500"), Lost(Reason.RESET)

    def add(count: int, pod: str, at: float, seconds: float = 0.1, why: Lost | None = None) -> None:
        ledger.samples += [Sample(Kind.NEW, pod, at, at + seconds, why)] * count

    add(got - lost, "canary", 15.0)
    add(lost, "canary", 15.0, 0.1, error)
    add(1000 - got - stable, "stable", 15.0)
    add(stable, "stable", 15.0, 0.1, error)
    add(190, "stable", 21.0)
    add(10 - cut, "canary", 21.0, 5.0)
    add(cut, "canary", 21.0, 5.0, reset)
    add(after, "canary", 25.0)
    add(200, "stable", 25.0)
    scenario = Canary("errors")
    scenario.steps = [Step(5, 10.0, 20.0, back), Step(0, back)]
    scenario.seen_at = 20.0
    return faults(view_of(scenario, ledger))


def test_a_good_canary_has_only_to_get_its_share() -> None:
    scenario = Canary()
    scenario.steps = [Step(5, 10.0, 20.0, 22.0), Step(0, 22.0)]
    found = checks.of(view_of(scenario, Ledger(lambda: 0.0)))
    assert [check.what for check in found] == [
        "requests to the canary at 5 %",
        "requests to the canary at 0 %",
        "lost by the stable release",
    ]


def test_a_scenario_without_checks_has_none() -> None:
    assert checks.of(view_of(SimpleNamespace(name="rolling"), Ledger(lambda: 0.0))) == []


def test_a_service_that_keeps_its_bounds_passes() -> None:
    assert overload() == slow_clients() == canary() == ""


STOPPED = replace(LANE, seen=LIVE.seen, closed_at=40.0)
UNHEALTHY = replace(LIVE, events=(Event(12.0, "liveness failed", "b"),))


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (overload(took=2.0), "p99 of the served under overload 2,000 ms, but at most 1,500 ms"),
        (overload(shed=0), "0% of the requests, but at least 60% is allowed: the pods accept"),
        (overload(refused=0.5), "p99 of the answers 503 500 ms, but at most 250 ms"),
        (overload(back=2.0), "from 2 s after the overload 2,000 ms, but at most 750 ms"),
        (overload(lane=UNHEALTHY), "failed liveness probes 1, but none is allowed"),
        (overload(lane=STOPPED), "drain under overload 29,900 ms, but at most 18,000 ms"),
        (slow_clients(took=0.2), "usual second beside slow clients 200 ms, but at most 42 ms"),
        (
            slow_clients(stayed=9.0),
            "stay 9,000 ms, but at most 7,000 ms is allowed: APP_REQUESTS__H",
        ),
        (slow_clients(left=60.0), "slow readers (0 closed) stay 60,000 ms"),
        (canary(got=80), "at 5 % 80 of 1,000, but 22 to 78 is allowed: the gateway must"),
        (canary(got=20), "at 5 % 20 of 1,000, but 22 to 78 is allowed"),
        (canary(after=1), "at 0 % 1 of 201, but 0 to 0 is allowed"),
        (canary(stable=1), "lost by the stable release 1, but none is allowed"),
        (canary(cut=1), "when it was taken back 10, 1 cut off, but none cut off is allowed"),
        (canary(back=28), "it got no more requests 8,000 ms, but at most 7,000 ms is allowed"),
    ],
)
def test_what_does_not_is_named_with_its_bound_and_a_remedy(found: str, sentence: str) -> None:
    assert sentence in found
    assert found.count("\n") == 0


def test_an_overload_without_a_route_that_waits_is_refused() -> None:
    with pytest.raises(DrillError, match=r"add \[wait\] to drill\.toml"):
        crowds.Overload().prepare(Plan(routes=Routes(wait=None)))


def test_a_service_that_serves_less_than_it_could_is_named() -> None:
    idle = replace(LIVE, seen=(Span("used", 0, 40), Span("used", 10, 20)))  # as two pods
    assert "served under overload 50% of the capacity, but at least 90%" in overload(lane=idle)
