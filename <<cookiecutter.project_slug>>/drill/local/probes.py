"""Probes, as the kubelet makes them.

The rules are those of "Configure Liveness, Readiness and Startup Probes" in
Kubernetes' documents and of ``pkg/kubelet/prober/worker.go``.
"""

import asyncio
import random
import time
from typing import Protocol

from drill.chart.workload import Probe
from drill.local.actions import succeeds
from drill.local.containers import Container


class Probed(Protocol):
    """What probes tell their pod."""

    def set_ready(self, ready: bool) -> None:
        """The container's readiness is this now."""

    def probed_ready(self, began: float) -> None:
        """A readiness probe that began then, by the monotonic clock, succeeded."""

    def fail(self, name: str, probe: Probe) -> None:
        """The container has to be restarted."""


class Prober:
    """Probes one life of a container until it is cancelled.

    The startup probe comes first and alone. Readiness begins as a failure,
    liveness as a success. While a pod ends, readiness goes on alone.
    """

    def __init__(self, container: Container, pod: Probed) -> None:
        self._container = container
        self._pod = pod
        self._began = time.monotonic()
        self._ending = False

    def stop_all_but_readiness(self) -> None:
        self._ending = True

    async def run(self) -> None:
        template = self._container.template
        if template.startup and not await self._startup(template.startup):
            return
        async with asyncio.TaskGroup() as tasks:
            if template.readiness:
                tasks.create_task(self._readiness(template.readiness))
            else:
                self._pod.set_ready(True)
            if template.liveness:
                tasks.create_task(self._liveness(template.liveness))

    async def _startup(self, probe: Probe) -> bool:
        """Whether the others may begin."""
        ticks, streak = Ticks(probe, self._began), Streak(probe)
        while True:
            await ticks.next()
            if self._ending:
                return True
            verdict = streak.add(await succeeds(probe, self._container))
            if verdict is False:
                self._pod.fail("startup", probe)
            if verdict is not None:
                return verdict

    async def _readiness(self, probe: Probe) -> None:
        ticks, streak = Ticks(probe, self._began, at_once=True), Streak(probe)
        while True:
            await ticks.next()
            began = time.monotonic()
            if well := await succeeds(probe, self._container):
                self._pod.probed_ready(began)
            if (verdict := streak.add(well)) is not None:
                self._pod.set_ready(verdict)

    async def _liveness(self, probe: Probe) -> None:
        ticks, streak = Ticks(probe, self._began), Streak(probe)
        while True:
            await ticks.next()
            if self._ending:
                return
            if streak.add(await succeeds(probe, self._container)) is False:
                self._pod.fail("liveness", probe)
                return


class Streak:
    """Counts results in a row."""

    def __init__(self, probe: Probe) -> None:
        self._thresholds = {True: probe.success_threshold, False: probe.failure_threshold}
        self._last: bool | None = None
        self._count = 0

    def add(self, result: bool) -> bool | None:
        """The result once it has come often enough, else None."""
        self._count = self._count + 1 if result is self._last else 1
        self._last = result
        return result if self._count >= self._thresholds[result] else None


class Ticks:
    """The moments to probe at.

    The kubelet's ticker runs since the pod was added to its node, so the first
    tick comes anywhere within a period. A container that has started and is
    not ready is asked ``at_once`` besides. Ticks within the initial delay are
    left out.
    """

    def __init__(self, probe: Probe, started: float, *, at_once: bool = False) -> None:
        now = time.monotonic()
        self._period = probe.period
        self._earliest = started + probe.initial_delay
        self._due = now + random.random() * probe.period
        self._at_once = at_once and now >= self._earliest

    async def next(self) -> None:
        """Returns at the next tick; those that were missed count as one."""
        if self._at_once:
            self._at_once = False
            return
        while True:
            tick = self._due
            await asyncio.sleep(tick - time.monotonic())
            self._due = max(tick + self._period, time.monotonic())
            if tick >= self._earliest:
                return
