"""A canary is judged by its metrics, and what it is blamed for stays within its share."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest

from drill import metrics
from drill.chart import Release, Values
from drill.errors import DrillError
from drill.load.ledger import Kind, Lost, Reason, Sample
from drill.local.clients import routed_share
from drill.plan import Plan
from drill.record import PodRecord, Timeline
from drill.scenarios import SCENARIOS, canary
from drill.scenarios.canary import FAULTS, Canary, Step

BOUNDS = (0.005, 0.1, 1.0, 2.5, 5.0, float("inf"))


def exposition(*times: tuple[str, float, int], failed: int = 0) -> str:
    """What a pod says after so many requests of a route with a time, and failures of /hello."""
    lines = ["# TYPE http_server_request_duration_seconds histogram"]
    for path, seconds, count, error in (
        *((*one, "") for one in times),
        ("/hello", 0.001, failed, ',error_type="500"'),
    ):
        labels = f'http_request_method="GET",http_route="{path}"{error}'
        for bound in BOUNDS:
            le = "+Inf" if bound == float("inf") else bound
            name = f'http_server_request_duration_seconds_bucket{{{labels},le="{le}"}}'
            lines.append(f"{name} {count if seconds <= bound else 0}")
    return "\n".join((*lines, ""))


def figures(*times: tuple[str, float, int], failed: int = 0) -> metrics.Figures:
    return metrics.read([exposition(*times, failed=failed)])


STABLE = figures(("/hello", 0.05, 1000), ("/slow", 1.5, 200))


def test_the_metrics_of_pods_are_added() -> None:
    pod = exposition(("/hello", 0.05, 10), ("/slow", 1.5, 4), failed=3)
    both = metrics.read([pod, pod])
    assert metrics.requests(both) == 34
    assert metrics.requests(both, "/slow") == 8
    assert metrics.failures(both) == 6


def test_other_errors_are_the_callers() -> None:
    refused = exposition(("/hello", 0.05, 5), failed=5).replace('"500"', '"body too large"')
    assert metrics.failures(metrics.read([refused])) == 0


def test_the_p99_lies_in_the_bucket_where_prometheus_would_say() -> None:
    found = figures(("/hello", 0.05, 90), ("/hello", 2.0, 10))
    assert metrics.p99(found, "/hello") == pytest.approx(1.0 + 1.5 * 0.9)
    assert metrics.p99(figures(("/hello", 9.0, 10)), "/hello") == 5.0
    assert metrics.p99(Counter(), "/hello") == 0.0


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (figures(("/hello", 0.05, 30), failed=10), "25% of its 40 requests fail, 0%"),
        (figures(("/hello", 0.05, 5), failed=3), "38% of its 8 requests fail"),
        (figures(("/hello", 0.05, 5), failed=2), ""),  # two may be chance
        (figures(("/hello", 0.05, 100)), ""),
        (figures(("/hello", 0.05, 90), ("/hello", 4.0, 10)), "p99 of /hello is 4.75 s, 0.099 s"),
        (figures(("/hello", 0.05, 80), ("/hello", 4.0, 10)), ""),  # too few
        (figures(("/hello", 0.05, 99), ("/hello", 4.0, 1)), ""),  # one of a hundred
        (figures(("/hello", 0.05, 100), ("/slow", 2.0, 100)), ""),  # as slow as before
        (figures(("/slow", 4.9, 100)), ""),  # less than twice as slow
        (Counter(), ""),
    ],
)
def test_a_canary_is_worse_beyond_chance(found: metrics.Figures, says: str) -> None:
    worse = metrics.worse(found, STABLE)
    assert says in worse and bool(says) is bool(worse)


def test_failures_that_the_stable_version_has_too_are_no_fault_of_the_canary() -> None:
    stable = figures(("/hello", 0.05, 750), failed=250)
    assert not metrics.worse(figures(("/hello", 0.05, 30), failed=10), stable)
    assert not metrics.worse(figures(("/hello", 0.05, 30), failed=10), Counter())


POD = PodRecord("canary-a1", 1, "node-1", "127.0.0.12", Path("log"), canary=True)


@pytest.mark.parametrize(
    ("fault", "reason", "began", "pod", "excused"),
    [
        ("errors", Reason.STATUS, 11.0, POD, True),
        ("errors", Reason.STATUS, 21.0, POD, False),  # taken back at 20
        ("errors", Reason.RESET, 11.0, POD, False),  # in flight, and cut off
        ("errors", Reason.STATUS, 11.0, replace(POD, canary=False), False),
        ("", Reason.STATUS, 11.0, POD, False),
    ],
)
def test_only_answers_of_a_bad_canary_are_excused(
    fault: str, reason: Reason, began: float, pod: PodRecord, excused: bool
) -> None:
    scenario = Canary(fault)
    scenario.steps = [Step(5, 10.0, 18.0, 20.0), Step(0, 20.0)]
    sample = Sample(Kind.NEW, "canary-a1", began, began + 0.1, Lost(reason, "500"))
    assert scenario.excuses(sample, pod, Timeline()) is excused
    nobodys = replace(sample, pod="")
    assert not scenario.excuses(nobodys, pod, Timeline())


def test_its_release_has_the_values_of_the_walk_and_its_fault() -> None:
    scenario = Canary("slow")
    plan = scenario.release(Plan(values=Values(settings=("image.tag=1",))))
    assert plan.release == "canary"
    assert plan.values.files[-1].name == "values-canary.yaml" and plan.values.files[-1].is_file()
    assert plan.values.settings[-1] == "image.tag=canary"
    container: dict[str, Any] = {"command": ["tini"], "args": ["serve"]}
    (patch,) = plan.patches
    patch({"spec": {"template": {"spec": {"containers": [container]}}}})
    assert container["command"][:2] == ["python", "-c"] and container["args"] == []
    assert container["env"] == [{"name": "DRILL_FAULT", "value": "slow"}]
    assert not Canary().release(Plan()).patches


def test_a_gateway_notices_that_a_connection_to_a_pod_was_closed() -> None:
    plan = Canary().prepare(Plan())
    assert plan.routes.shares.get(Kind.KEPT, 0) == 0
    assert plan.routes.shares[Kind.CHECKED] == 7
    assert sum(plan.routes.shares.values()) == sum(Plan().routes.shares.values())


@pytest.mark.parametrize("weight", [0, 5, 100])
def test_the_share_is_that_of_the_charts_route(weight: int) -> None:
    service = Release.render(Values(), "canary").one("Service")["metadata"]["name"]
    assert routed_share(Values(), "canary", service, weight) == weight / 100


def test_a_canary_that_the_route_does_not_name_is_refused() -> None:
    with pytest.raises(DrillError, match="not to the canary's Service other"):
        routed_share(Values(), "canary", "other", 5)


class Fake:
    """Says of every second's requests what the test wants; the canary gets its weight of 100."""

    def __init__(self, timeline: Timeline, *, failing: float = 0.0) -> None:
        self.timeline = timeline
        self.weights: list[int] = []
        self.acts: list[str] = []
        self.canary = self
        self._failing = failing
        self._good = self._bad = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.acts.append("removed")

    def beside(self, change: object) -> "Fake":
        return self.canary

    async def take(self, weight: int) -> None:
        self.weights.append(weight)

    async def update(self, patch: object) -> None:
        self.acts.append("updated")

    async def rolled_out(self) -> None:
        pass

    async def metrics(self) -> Mapping[str, str]:
        weight = self.weights[-1] if self.weights else 100
        self._good += round(weight * (1 - self._failing))
        self._bad += round(weight * self._failing)
        return {"a1": exposition(("/hello", 0.05, self._good), failed=self._bad)}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(canary, "STEP_SECONDS", 0.0)
    monkeypatch.setattr(canary, "PATIENCE_SECONDS", 20.0)


def walked(scenario: Canary, *, failing: float = 0.0) -> tuple[Fake, list[str]]:
    timeline = Timeline()
    stable, new = Fake(timeline), Fake(timeline, failing=failing)
    stable.canary = new
    anything: Any = stable
    return stable, list(asyncio.run(scenario.act(anything)))


def test_a_good_canary_gets_everything_and_is_removed_after_the_update() -> None:
    scenario = Canary()
    stable, faults = walked(scenario)
    assert faults == []
    assert stable.canary.weights == [5, 25, 50, 100, 0]
    assert [step.weight for step in scenario.steps] == [5, 25, 50, 100, 0]
    assert stable.acts == ["updated"] and stable.canary.acts == ["removed"]
    assert all(one.end == after.begin for one, after in pairwise(scenario.steps))


def test_a_bad_one_is_taken_back_in_the_first_step() -> None:
    scenario = Canary("errors")
    stable, faults = walked(scenario, failing=0.4)
    assert faults == [] and scenario.seen_at
    assert stable.canary.weights == [5, 0]
    assert stable.acts == [] and stable.canary.acts == ["removed"]


def test_a_bad_one_that_is_not_seen_and_a_good_one_that_is_taken_back_are_faults() -> None:
    _, (unseen,) = walked(Canary("errors"))
    assert unseen == f"its metrics did not show that the canary {FAULTS['errors']}."
    _, (wronged,) = walked(Canary(), failing=0.4)
    assert "without a fault was taken back: 40% of its" in wronged


def test_a_canary_without_requests_cannot_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(Fake, "metrics", lambda self: asyncio.sleep(0, {}))
    with pytest.raises(DrillError, match=r"show 0 requests .* with 5 % of them, .* raise --rate"):
        walked(Canary())


def test_each_fault_has_a_scenario() -> None:
    assert {"canary", *(f"canary-{fault}" for fault in FAULTS)} <= set(SCENARIOS)
