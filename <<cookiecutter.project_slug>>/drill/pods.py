"""One pod, treated as the kubelet treats it.

A pod is a process with an address of its own. Its deletion is two things side
by side: its endpoint is taken from the table, and the process is stopped by
preStop, SIGTERM and, at the end of the grace period, SIGKILL.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from drill.client import Connection
from drill.endpoints import Endpoint, EndpointTable
from drill.errors import DrillError
from drill.loss import Lost
from drill.processes import Process, Processes
from drill.timeline import Timeline

#: What the kubelet grants for SIGTERM when preStop has used up the grace period.
OVERRUN_SECONDS = 2.0


@dataclass(frozen=True)
class Probe:
    """An httpGet probe, with the numbers that Kubernetes gives one."""

    path: str = "/readyz"
    port: str = "management"
    period: float = 0.5
    timeout: float = 1.0
    failure_threshold: int = 3
    success_threshold: int = 1


@dataclass(frozen=True)
class PodTemplate:
    """What a Deployment says about its pods.

    ``$(NAME)`` in a command stands for a variable of the environment.
    """

    command: tuple[str, ...]
    pre_stop: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None
    readiness: Probe = Probe()
    grace: float = 30.0


@dataclass(frozen=True)
class Place:
    """Where a pod listens."""

    host: str
    port: int
    management_port: int


class Pod:
    """A pod from its creation until it is gone."""

    def __init__(
        self,
        name: str,
        place: Place,
        template: PodTemplate,
        folder: Path,
        table: EndpointTable,
        timeline: Timeline,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.exit_code: int | None = None
        self.pre_stop_code: int | None = None
        self._place = place
        self._template = template
        self._folder = folder / name
        self._table = table
        self._timeline = timeline
        self._environment = self._make_environment()
        self._ready = asyncio.Event()
        self._gone = asyncio.Event()
        self._process: Process | None = None

    async def run(self, processes: Processes) -> None:
        """Starts the process and probes it until it is gone."""
        self._folder.mkdir(mode=0o700)
        command = expand(self._template.command, self._environment)
        self._process = await processes.start(command, self._environment, self.log)
        self._timeline.mark("started", self.name)
        place = self._place
        self._table.publish(Endpoint(self.name, place.host, place.port))
        prober = asyncio.create_task(self._probe())
        try:
            self.exit_code = await self._process.wait()
        finally:
            prober.cancel()
            await asyncio.wait([prober])
        self._table.remove(self.name)
        self._timeline.mark("exited", self.name, self._describe_exit())
        self._gone.set()

    async def until_ready(self, within: float) -> None:
        """Returns at the first success of the readiness probe."""
        ready, gone = (asyncio.create_task(e.wait()) for e in (self._ready, self._gone))
        try:
            await asyncio.wait((ready, gone), timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
            gone.cancel()
        if self._ready.is_set():
            return
        probe = f"{self._template.readiness.path} at {self._place.host}:{self._probe_port}"
        raise DrillError(
            f"pod {self.name} exited with {self.exit_code} before it was ready"
            if self._gone.is_set()
            else f"pod {self.name} did not answer 200 to {probe} within {within:g} s",
            log=self.log,
        )

    async def delete(self, processes: Processes) -> None:
        """Deletes the pod and returns when it is gone."""
        self._timeline.mark("deleted", self.name)
        if endpoint := self._table.current(self.name):
            self._table.publish(replace(endpoint, terminating=True))
        if self._process is None or self._gone.is_set():
            return
        deadline = self._timeline.now() + self._template.grace
        if self._template.pre_stop:
            await self._run_pre_stop(processes, deadline)
        if not self._gone.is_set():
            self._timeline.mark("SIGTERM", self.name, quiet=True)
            self._process.terminate()
        if not await self._until_gone(max(deadline - self._timeline.now(), OVERRUN_SECONDS)):
            self._timeline.mark("SIGKILL", self.name, "the grace period is over")
            self._process.kill()
            await self._gone.wait()

    async def _run_pre_stop(self, processes: Processes, deadline: float) -> None:
        command = expand(self._template.pre_stop, self._environment)
        log = self.log.with_suffix(".prestop.log")
        hook = await processes.start(command, self._environment, log)
        try:
            async with asyncio.timeout(deadline - self._timeline.now()):
                self.pre_stop_code = await hook.wait()
        except TimeoutError:
            hook.kill()
            self.pre_stop_code = await hook.wait()
        self._timeline.mark("preStop ended", self.name, f"code {self.pre_stop_code}", quiet=True)

    def _describe_exit(self) -> str:
        deleted = self._timeline.first("deleted", self.name)
        after = (
            "" if deleted is None else f", {self._timeline.now() - deleted:.1f} s after deletion"
        )
        return f"code {self.exit_code}{after}"

    async def _until_gone(self, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                return await self._gone.wait()
        except TimeoutError:
            return False

    async def _probe(self) -> None:
        """Keeps the endpoint's condition true to the readiness probe, also while terminating."""
        probe, in_a_row, last = self._template.readiness, 0, False
        while True:
            result = await self._ask(probe)
            in_a_row, last = (in_a_row + 1 if result is last else 1), result
            threshold = probe.success_threshold if result else probe.failure_threshold
            endpoint = self._table.current(self.name)
            if endpoint and endpoint.serving is not result and in_a_row >= threshold:
                self._table.publish(replace(endpoint, serving=result))
                what = "ready" if result else "unready"
                self._timeline.mark(what, self.name, quiet=endpoint.terminating)
                self._ready.set()
            await asyncio.sleep(probe.period)

    async def _ask(self, probe: Probe) -> bool:
        try:
            async with asyncio.timeout(probe.timeout):
                connection = await Connection.open(self._place.host, self._probe_port)
                try:
                    answer = await connection.request("GET", probe.path, Connection="close")
                finally:
                    connection.close()
        except (Lost, TimeoutError):
            return False
        return 200 <= answer.head.status < 400

    @property
    def _probe_port(self) -> int:
        management = self._template.readiness.port == "management"
        return self._place.management_port if management else self._place.port

    def _make_environment(self) -> dict[str, str]:
        place = self._place
        return {
            **(self._template.environment or {}),
            "APP_HOST": place.host,
            "APP_PORT": str(place.port),
            "APP_MANAGEMENT_PORT": str(place.management_port),
            "APP_CONTROL_SOCKET": str(self._folder / "control.sock"),
        }


def expand(command: tuple[str, ...], environment: Mapping[str, str]) -> list[str]:
    """Kubernetes' expansion: ``$(NAME)`` by its value, unknown names as they are, ``$$`` for $."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else environment.get(match[1], match[0])

    return [re.sub(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)", value, word) for word in command]
