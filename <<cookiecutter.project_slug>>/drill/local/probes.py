"""[drill.local.actions] What probes and hooks do: exec, httpGet, tcpSocket, sleep (``pkg/probe``, LifecycleHandler).
[drill.local.probes] Probes, as the kubelet makes them.

The rules are those of "Configure Liveness, Readiness and Startup Probes" in
Kubernetes' documents and of ``pkg/kubelet/prober/worker.go``.

"""

import asyncio
import random
import time
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from drill.chart import Action, Probe
from drill.load.client import CLOSE, Answer, Connection
from drill.load.ledger import Lost
from drill.local.containers import Container

MAX_REDIRECTS = 10
#: What a shell says of a command that it cannot find.
NOT_FOUND = 127


async def succeeds(probe: Probe, container: Container) -> bool:
    """Whether a probe's action does, in its time."""
    try:
        async with asyncio.timeout(probe.timeout):
            return await _well(probe.action, container)
    except (Lost, TimeoutError):
        return False


async def run_hook(action: Action, container: Container) -> int:
    """The exit code of a hook; of one that is no program, 0 or 1. Any answer will do."""
    if action.exec is not None:
        return await execute(action.exec, container)
    if action.sleep is not None:
        await asyncio.sleep(action.sleep)
        return 0
    if action.http is None:
        return 1  # tcpSocket is accepted and fails when it is run
    try:
        await _ask(_url(action, container), dict(action.http[2]), patience=float("inf"))
    except Lost:
        return 1
    return 0


async def execute(command: tuple[str, ...], container: Container) -> int:
    """The exit code; cancelling kills it."""
    process = await container.exec(command)
    if process is None:
        return NOT_FOUND
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise


async def _well(action: Action, container: Container) -> bool:
    if action.exec is not None:
        return await execute(action.exec, container) == 0
    if action.tcp is not None:
        (await Connection.open(container.address, container.template.port(action.tcp))).close()
        return True
    assert action.http is not None
    return await _answers_well(_url(action, container), dict(action.http[2]))


async def _answers_well(url: str, headers: dict[str, str]) -> bool:
    """200 to 399 is well. Redirects are followed, but not to another host."""
    host = urlsplit(url).hostname
    for _ in range(MAX_REDIRECTS):
        head = (await _ask(url, headers)).head
        location = head.headers.get("location")
        if not (300 <= head.status < 400 and location):
            return 200 <= head.status < 400
        url = urljoin(url, location)
        if urlsplit(url).hostname != host:
            return True
    return False


async def _ask(url: str, headers: dict[str, str], patience: float | None = None) -> Answer:
    parts = urlsplit(url)
    waits = {} if patience is None else {"patience": patience}
    connection = await Connection.open(parts.hostname or "", parts.port or 80, **waits)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        given = {"User-Agent": "kube-probe/1.36", "Accept": "*/*", **headers}
        return await connection.request("GET", target, headers={**CLOSE, **given})
    finally:
        connection.close()


def _url(action: Action, container: Container) -> str:
    assert action.http is not None
    path, port, _ = action.http
    return f"http://{container.address}:{container.template.port(port)}/{path.lstrip('/')}"


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
