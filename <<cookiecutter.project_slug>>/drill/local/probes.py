"""Probes and hooks, as the kubelet runs them.

See "Configure Liveness, Readiness and Startup Probes" in the Kubernetes
documentation, ``pkg/probe`` and ``pkg/kubelet/prober/worker.go``.
"""

import asyncio
import random
import time
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from drill.chart import Action, Probe
from drill.load.client import ANSWER_SECONDS, CLOSE, Answer, Connection
from drill.load.ledger import Lost
from drill.local.containers import Container

MAX_REDIRECTS = 10
#: A shell's exit code for a command that it cannot find.
NOT_FOUND = 127


async def succeeds(probe: Probe, container: Container) -> bool:
    """Return whether the probe's action succeeds within its timeout."""
    try:
        async with asyncio.timeout(probe.timeout):
            return await _act(probe.action, container)
    except (Lost, TimeoutError):
        return False


async def run_hook(action: Action, container: Container) -> int:
    """Return the hook's exit code; 0 or 1 if it is not exec. Any HTTP response is a success."""
    if action.exec is not None:
        return await execute(action.exec, container)
    if action.sleep is not None:
        await asyncio.sleep(action.sleep)
        return 0
    if action.http is None:
        return 1  # the API accepts tcpSocket, the kubelet fails it
    try:
        await _ask(_url(action, container), dict(action.http[2]), patience=float("inf"))
    except Lost:
        return 1
    return 0


async def execute(command: tuple[str, ...], container: Container) -> int:
    """Return the exit code; cancelling kills the process."""
    process = await container.exec(command)
    if process is None:
        return NOT_FOUND
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise


async def _act(action: Action, container: Container) -> bool:
    if action.exec is not None:
        return await execute(action.exec, container) == 0
    if action.tcp is not None:
        (await Connection.open(container.address, container.template.port(action.tcp))).close()
        return True
    assert action.http is not None
    return await _answers_ok(_url(action, container), dict(action.http[2]))


async def _answers_ok(url: str, headers: dict[str, str]) -> bool:
    """Return whether the status is 200 to 399. Redirects to another host are not followed."""
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


async def _ask(url: str, headers: dict[str, str], patience: float = ANSWER_SECONDS) -> Answer:
    parts = urlsplit(url)
    connection = await Connection.open(parts.hostname or "", parts.port or 80, patience=patience)
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
    """What a prober calls on its pod."""

    def set_ready(self, ready: bool) -> None:
        """The container's readiness has this value now."""

    def probed_ready(self, began: float) -> None:
        """A readiness probe succeeded that began then, on the monotonic clock."""

    def missed(self) -> None:
        """A liveness probe failed: enough of them in a row make ``fail``."""

    def fail(self, name: str, probe: Probe) -> None:
        """The probe failed: the container must be restarted."""


class Prober:
    """Probes a container until it is cancelled.

    The startup probe runs first and alone. Readiness begins as failed, liveness as
    succeeded. While the pod terminates, only readiness is probed.
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
        """Return whether the other probes may begin."""
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
            if ok := await succeeds(probe, self._container):
                self._pod.probed_ready(began)
            if (verdict := streak.add(ok)) is not None:
                self._pod.set_ready(verdict)

    async def _liveness(self, probe: Probe) -> None:
        ticks, streak = Ticks(probe, self._began), Streak(probe)
        while True:
            await ticks.next()
            if self._ending:
                return
            if not (ok := await succeeds(probe, self._container)) and not self._ending:
                self._pod.missed()
            if streak.add(ok) is False:
                self._pod.fail("liveness", probe)
                return


class Streak:
    """Counts consecutive results."""

    def __init__(self, probe: Probe) -> None:
        self._thresholds = {True: probe.success_threshold, False: probe.failure_threshold}
        self._last: bool | None = None
        self._count = 0

    def add(self, result: bool) -> bool | None:
        """Return the result once it has reached its threshold, else None."""
        self._count = self._count + 1 if result is self._last else 1
        self._last = result
        return result if self._count >= self._thresholds[result] else None


class Ticks:
    """The times to probe at.

    The kubelet's ticker starts when the pod is added to the node, so the first
    tick comes anywhere within a period. A started container that is not ready
    is also probed ``at_once``. Ticks within the initial delay are skipped.
    """

    def __init__(self, probe: Probe, started: float, *, at_once: bool = False) -> None:
        now = time.monotonic()
        self._period = probe.period
        self._earliest = started + probe.initial_delay
        self._due = now + random.random() * probe.period
        self._at_once = at_once and now >= self._earliest

    async def next(self) -> None:
        """Wait for the next tick; missed ticks count as one."""
        if self._at_once:
            self._at_once = False
            return
        while True:
            tick = self._due
            await asyncio.sleep(tick - time.monotonic())
            self._due = max(tick + self._period, time.monotonic())
            if tick >= self._earliest:
                return
