"""The Deployment controller, case by case against "Deployments" in Kubernetes' documents.

Its pods are real ones whose containers nobody starts: a test says when they
become ready and when they are gone.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drill.errors import DrillError
from drill.local.deployment import Deployment, ReplicaSet, victims
from drill.local.endpoints import EndpointTable
from drill.local.kubelet import Pod
from drill.local.nodes import NODES, Nodes
from drill.record import PodRecord, Timeline
from tests.drill.local.support import eventually, rendered
from tests.drill.support import in_loop


class Fleet:
    """A Deployment and its pods."""

    def __init__(
        self, replicas: int, surge: int | str, unavailable: int | str, **more: Any
    ) -> None:
        self.workload = replace(
            rendered().workload, max_surge=surge, max_unavailable=unavailable, **more
        )
        self.timeline = Timeline()
        self.table = EndpointTable((0, 0), self.timeline.now)
        self.nodes = Nodes()
        self.deployment = Deployment(self.workload, replicas, self.create)

    def create(self, one: ReplicaSet) -> Pod:
        there = [(p.record.node, p.record.revision) for p in self.deployment.pods if p.active]
        node = self.nodes.choose(one.revision, there)
        record = PodRecord(one.next_name, one.revision, node, "127.0.0.1", Path("log"))
        return Pod(record, self.table, self.timeline, self.deployment.poke)

    @property
    def names(self) -> list[str]:
        return [pod.record.name for pod in self.deployment.pods if pod.active]

    @property
    def available(self) -> int:
        return sum(pod.ready_since is not None for pod in self.deployment.pods if pod.active)

    def ready(self, *names: str) -> None:
        for pod in self.deployment.pods:
            if pod.record.name in names:
                pod.set_ready(True)

    def update(self) -> None:
        self.deployment.update((), self.workload)

    async def has(self, *names: str) -> None:
        """These pods, and no others, are there and wanted."""
        with suppress(AssertionError):
            await eventually(lambda: self.names == list(names), within=2)
        assert self.names == list(names)

    async def grows_to(self, name: str) -> None:
        await eventually(lambda: name in self.names)

    def runs(self, act: Callable[["Fleet"], Coroutine[Any, Any, None]]) -> None:
        async def check() -> None:
            controller = asyncio.create_task(self.deployment.run())
            try:
                await act(self)
            finally:
                controller.cancel()

        in_loop(check())


def names(letter: str, numbers: Sequence[int]) -> list[str]:
    return [f"{letter}{number}" for number in numbers]


async def installed(fleet: Fleet) -> None:
    count = fleet.deployment.replicas
    await eventually(lambda: len(fleet.names) == count)
    fleet.ready(*fleet.names)
    await eventually(lambda: fleet.deployment.complete)


def test_max_surge_adds_one_pod_at_a_time_and_none_goes_before_it_is_ready() -> None:
    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.update()
        await fleet.has("a1", "a2", "a3", "b1")
        fleet.ready("b1")
        await eventually(lambda: len(fleet.names) == 4 and "b2" in fleet.names)
        assert sum(name.startswith("a") for name in fleet.names) == 2
        fleet.ready("b2")
        await eventually(lambda: "b3" in fleet.names)
        assert not fleet.deployment.complete
        fleet.ready("b3")
        await fleet.has("b1", "b2", "b3")
        assert fleet.deployment.complete

    Fleet(3, 1, 0).runs(act)


def test_max_unavailable_takes_pods_at_once() -> None:
    """ "when this value is set to 30%, the old ReplicaSet can be scaled down to 70%"."""

    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.update()
        await eventually(lambda: fleet.available == 7 and "b3" in fleet.names)
        assert len(fleet.names) == 10

    Fleet(10, 0, "30%").runs(act)


def test_max_surge_of_30_percent() -> None:
    """ "the total number of old and new Pods does not exceed 130% of desired Pods"."""

    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.update()
        await eventually(lambda: len(fleet.names) == 13)
        assert fleet.available == 10

    Fleet(10, "30%", 0).runs(act)


def test_rollover_kills_pods_of_the_update_under_way_first() -> None:
    """ "it immediately starts killing the 3 Pods ... that it had created"."""

    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.update()
        await fleet.has(*names("a", range(1, 4)), "b1")
        fleet.update()
        await fleet.has(*names("a", range(1, 4)), "c1")

    Fleet(3, 1, 0).runs(act)


def test_pods_of_a_version_that_does_not_start_take_no_more_of_the_old_ones() -> None:
    """The first case that ``reconcileOldReplicaSets`` describes."""

    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.update()
        await eventually(lambda: len(fleet.names) == 13 and fleet.available == 8)
        failing = next(pod for pod in fleet.deployment.pods if pod.active)
        failing.set_ready(False)
        await asyncio.sleep(0.1)
        assert sum(name.startswith("a") for name in fleet.names) == 8
        fleet.deployment.roll_back(fleet.workload)
        await eventually(lambda: len(fleet.names) == 11)  # 4 of those that do not start went
        assert sum(name.startswith("a") for name in fleet.names) == 10
        fleet.ready(*(name for name in fleet.names if name.startswith("a")))
        await eventually(lambda: fleet.deployment.complete)

    Fleet(10, 3, 2).runs(act)


def test_a_roll_back_keeps_the_pods_that_are_left() -> None:
    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.update()
        await fleet.has("a1", "a2", "b1")
        assert fleet.deployment.previous_patches == ()
        fleet.deployment.roll_back(fleet.workload)
        await fleet.has("a1", "a2")
        assert fleet.deployment.complete

    Fleet(2, 1, 0).runs(act)


def test_there_has_to_be_a_revision_to_roll_back_to() -> None:
    with pytest.raises(DrillError, match="no revision"):
        _ = Fleet(2, 1, 0).deployment.previous_patches


def test_a_pod_counts_when_it_has_been_ready_for_min_ready_seconds() -> None:
    async def act(fleet: Fleet) -> None:
        await eventually(lambda: len(fleet.names) == 1)
        fleet.ready("a1")
        await asyncio.sleep(0.1)
        assert not fleet.deployment.complete
        began = time.monotonic()
        assert await fleet.deployment.until(lambda: fleet.deployment.complete, within=60)
        assert time.monotonic() - began < 30

    Fleet(1, 1, 0, min_ready=2).runs(act)


def test_without_progress_for_its_deadline_a_rollout_has_failed() -> None:
    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.update()
        await fleet.has("a1", "a2", "b1")
        assert await fleet.deployment.rolled_out() is False

    Fleet(2, 1, 0, progress_deadline=0.5).runs(act)


def test_progress_extends_the_deadline() -> None:
    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.update()
        waiting = asyncio.create_task(fleet.deployment.rolled_out())
        for number in (1, 2, 3):
            await fleet.grows_to(f"b{number}")
            await asyncio.sleep(1.2)
            fleet.ready(f"b{number}")
        assert await waiting is True

    Fleet(3, 1, 0, progress_deadline=3).runs(act)


def test_a_deleted_pod_does_not_count_and_an_evicted_one_does_until_it_is_gone() -> None:
    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        first, second = fleet.deployment.pods
        first.delete()
        fleet.deployment.poke()
        await fleet.has("a2", "a3")
        second.evict()
        fleet.deployment.poke()
        await asyncio.sleep(0.1)
        assert fleet.names == ["a2", "a3"]
        second.gone.set()
        fleet.deployment.poke()
        await fleet.has("a3", "a4")

    Fleet(2, 1, 0).runs(act)


def test_scaling_takes_the_pods_that_are_not_ready_then_the_youngest() -> None:
    async def act(fleet: Fleet) -> None:
        await eventually(lambda: len(fleet.names) == 4)
        for name in ("a2", "a1", "a4"):
            fleet.ready(name)
        fleet.deployment.scale(3)
        await fleet.has("a1", "a2", "a4")
        fleet.deployment.scale(1)
        await eventually(lambda: len(fleet.names) == 1)
        assert fleet.names == ["a2"]

    Fleet(4, 1, 0).runs(act)


def test_of_ready_pods_those_that_share_a_node_go_first() -> None:
    fleet = Fleet(1, 1, 0)
    pods = [
        Pod(PodRecord(name, 1, node, "", Path("log")), fleet.table, fleet.timeline, lambda: None)
        for name, node in (("x", "node-1"), ("y", "node-2"), ("z", "node-1"))
    ]
    for pod in pods:
        pod.set_ready(True)
    assert [pod.record.name for pod in victims(pods, pods)] == ["z", "x", "y"]


def test_the_end_takes_all_pods_and_makes_no_new_ones() -> None:
    async def act(fleet: Fleet) -> None:
        await installed(fleet)
        fleet.deployment.end()
        fleet.deployment.poke()
        await asyncio.sleep(0.1)
        assert fleet.names == []
        assert len(fleet.deployment.pods) == 3

    Fleet(3, 1, 0).runs(act)


@pytest.mark.parametrize("seed", range(8))
def test_there_are_never_too_few_available_pods_nor_too_many(seed: int) -> None:
    """Pods become ready and unready, updates overlap: the bounds of the strategy hold."""
    dice = random.Random(seed)
    replicas = dice.randint(2, 7)
    strategies: list[tuple[int | str, int | str]] = [(1, 0), ("50%", "25%"), (0, 1), (3, 2)]
    surge, unavailable = dice.choice(strategies)

    async def act(fleet: Fleet) -> None:
        most, least = fleet.workload.surge(replicas)
        await installed(fleet)
        for _ in range(3):
            fleet.update()
            for _ in range(dice.randint(1, 3 * replicas)):
                await asyncio.sleep(0)
                unready = [p for p in fleet.deployment.pods if p.active and not p.ready_since]
                if unready:
                    dice.choice(unready).set_ready(True)
                await asyncio.sleep(0)
                assert len(fleet.names) <= replicas + most
                assert fleet.available >= replicas - least
        while not fleet.deployment.complete:
            fleet.ready(*fleet.names)
            await asyncio.sleep(0)

    Fleet(replicas, surge, unavailable).runs(act)


def test_nodes_spread_the_pods_of_a_revision_and_a_cordoned_one_gets_none() -> None:
    nodes = Nodes()
    there: list[tuple[str, int]] = []
    for _ in range(6):
        there.append((nodes.choose(1, there), 1))
    assert sorted(node for node, _ in there) == sorted(NODES * 2)
    nodes.cordoned.add("node-1")
    assert {nodes.choose(2, [*there, ("node-2", 2)])} == {"node-3"}
    nodes.cordoned.update(NODES)
    with pytest.raises(DrillError, match="cordoned"):
        nodes.choose(1, there)
