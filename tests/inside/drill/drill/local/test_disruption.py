"""Disruption budgets and API-initiated eviction, against Kubernetes' documents."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drill.errors import DrillError
from drill.local import nodes
from drill.local.endpoints import EndpointTable
from drill.local.kubelet import Pod
from drill.local.nodes import Budget, evict
from drill.record import PodRecord, Timeline
from tests.drill.local.support import eventually
from tests.drill.support import in_loop


def pods(ready: int, unready: int = 0) -> list[Pod]:
    timeline = Timeline()
    table = EndpointTable((0, 0), timeline.now)
    made = [
        Pod(PodRecord(f"a{n}", 1, "node-1", "", Path("log")), table, timeline, lambda: None)
        for n in range(1, 1 + ready + unready)
    ]
    for pod in made[:ready]:
        pod.set_ready(True)
    return made


def budget(**spec: Any) -> Budget:
    return Budget.read([{"spec": spec}])


@pytest.mark.parametrize(
    ("spec", "healthy", "allowed"),
    [
        ({"maxUnavailable": 1}, 3, True),
        ({"maxUnavailable": 1}, 2, False),
        ({"maxUnavailable": 0}, 3, False),
        ({"maxUnavailable": "25%"}, 3, True),  # 0.75 pods: rounded up
        ({"maxUnavailable": "34%"}, 2, True),  # 1.02
        ({"minAvailable": 2}, 3, True),
        ({"minAvailable": 2}, 2, False),
        ({"minAvailable": "50%"}, 2, False),  # 1.5 pods: rounded up
        ({}, 1, True),
    ],
    ids=str,
)
def test_a_ready_pod_may_go_while_more_than_enough_are_ready(
    spec: dict[str, Any], healthy: int, allowed: bool
) -> None:
    found = pods(healthy, 3 - healthy)
    assert budget(**spec).allows(found[0], found, 3) is allowed


@pytest.mark.parametrize(
    ("policy", "healthy", "allowed"),
    [("AlwaysAllow", 1, True), ("IfHealthyBudget", 2, True), ("IfHealthyBudget", 1, False)],
)
def test_a_pod_that_is_not_ready_may_go_as_the_policy_says(
    policy: str, healthy: int, allowed: bool
) -> None:
    found = pods(healthy, 3 - healthy)
    rule = budget(minAvailable=2, unhealthyPodEvictionPolicy=policy)
    assert rule.allows(found[-1], found, 3) is allowed


def test_without_a_budget_all_may_go() -> None:
    found = pods(1)
    assert Budget.read([]).allows(found[0], found, 1)


def test_deleted_pods_are_not_healthy() -> None:
    found = pods(3)
    assert budget(minAvailable=2).allows(found[0], found, 3)
    found[0].delete()
    assert not budget(minAvailable=2).allows(found[1], found, 3)


def test_a_refused_eviction_is_tried_again_until_it_is_granted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes, "RETRY_SECONDS", 0.02)

    async def check() -> None:
        (pod,) = pods(1)
        answers = [False, False, True]
        asked: list[Pod] = []

        def allowed(one: Pod) -> bool:
            asked.append(one)
            return answers[len(asked) - 1]

        evicting = asyncio.create_task(evict(pod, allowed))
        await eventually(lambda: pod.deleted)
        assert len(asked) == 3
        assert not evicting.done()
        pod.gone.set()
        await evicting

    in_loop(check())


def test_an_eviction_that_is_never_granted_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "RETRY_SECONDS", 0.02)
    monkeypatch.setattr(nodes, "PATIENCE_SECONDS", 0.1)

    async def check() -> None:
        (pod,) = pods(1)
        with pytest.raises(DrillError, match=r"podDisruptionBudget\.maxUnavailable"):
            await evict(pod, lambda one: False)
        assert not pod.deleted

    in_loop(check())
