"""A bad release is watched until it had its time, however slowly pods start on the machine."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drill.record import Event, PodRecord, Timeline
from drill.scenarios import updates
from drill.scenarios.updates import BadRelease


class Slow:
    """Two pods; each of the new ones needs ``seconds`` to be created and as long to be ready."""

    def __init__(self, tmp: Path, seconds: float, *, probed: bool, starts: bool = True) -> None:
        self.timeline = Timeline()
        self.workload = SimpleNamespace(
            min_ready=0.0,
            progress_deadline=1.0 if not starts else 50.0,
            surge=lambda replicas: (1, 0),
        )
        self.records: list[PodRecord] = []
        self.rolled_back_at: float | None = None
        self._tmp, self._seconds, self._probed, self._starts = tmp, seconds, probed, starts
        self._live: list[PodRecord] = [self._pod("old-1", 1), self._pod("old-2", 1)]
        self._complete = True

    def pods(self) -> list[PodRecord]:
        return list(self._live)

    def is_rolled_out(self) -> bool:
        return self._complete

    async def update(self, patch: object) -> None:
        self._complete = False
        self._controller = asyncio.create_task(self._roll())

    async def roll_back(self) -> None:
        self._controller.cancel()
        self.rolled_back_at = self.timeline.now()

    async def rolled_out(self) -> None:
        pass

    def _pod(self, name: str, revision: int) -> PodRecord:
        pod = PodRecord(name, revision, "node", "127.0.0.1", self._tmp / name)
        self.records.append(pod)
        return pod

    async def _roll(self) -> None:
        for number, old in enumerate(self.pods()):
            pod = self._pod(f"new-{number}", 2)
            if not self._starts:
                return
            await asyncio.sleep(self._seconds)
            self.timeline.mark("started", pod.name)
            if self._probed:
                return
            await asyncio.sleep(self._seconds)
            self.timeline.mark("ready", pod.name)
            self._live = [*(one for one in self._live if one is not old), pod]
        self._complete = True


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "WATCHED_SECONDS", 0.5)
    monkeypatch.setattr(updates, "POLL_SECONDS", 0.01)


def faults(cluster: Any) -> list[str]:
    async def act() -> list[str]:
        async with asyncio.timeout(60):
            return list(await BadRelease().act(cluster))

    return asyncio.run(act())


def test_a_roll_out_that_takes_longer_than_one_watch_is_found(tmp_path: Path) -> None:
    (fault,) = faults(Slow(tmp_path, 0.25, probed=False))
    assert "readiness probe" in fault


def test_the_watch_grows_with_the_start_up_that_was_measured(tmp_path: Path) -> None:
    cluster = Slow(tmp_path, 1.0, probed=False)
    cluster.timeline.mark("started", "old-1")
    cluster.timeline.events.append(Event(cluster.timeline.now() + 1.0, "ready", "old-1"))
    (fault,) = faults(cluster)
    assert "readiness probe" in fault


def test_a_pod_that_starts_and_is_never_ready_is_watched_and_rolled_back(tmp_path: Path) -> None:
    cluster = Slow(tmp_path, 0.3, probed=True)
    assert faults(cluster) == []
    started = cluster.timeline.first("started", "new-0")
    assert started is not None and cluster.rolled_back_at is not None
    assert cluster.rolled_back_at - started >= 0.5


def test_a_pod_that_never_starts_is_waited_for_until_the_progress_deadline(tmp_path: Path) -> None:
    cluster = Slow(tmp_path, 0, probed=True, starts=False)
    assert faults(cluster) == []
    assert cluster.rolled_back_at is not None and cluster.rolled_back_at >= 1
