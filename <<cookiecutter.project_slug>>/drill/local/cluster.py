"""The local backend: a release in a cluster of processes on this machine."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from drill.backend import LoadResult, LogFolders
from drill.chart import Patch
from drill.errors import DrillError
from drill.load.client import ask
from drill.load.ledger import Ledger
from drill.local.api import SliceApi
from drill.local.clients import Clients, routed_share
from drill.local.containers import Container, Manifests, Rendered
from drill.local.deployment import Deployment, ReplicaSet
from drill.local.endpoints import EndpointTable, Service
from drill.local.kubelet import Pod
from drill.local.machine import (
    Place,
    Processes,
    ServiceAddress,
#% if cookiecutter.monitoring == "prometheus"
    Targets,
#% endif
    places,
)
from drill.local.nodes import Budget, Nodes, evict
from drill.plan import Plan
from drill.record import Change, PodRecord, Timeline


@contextmanager
def one_error() -> Iterator[None]:
    """Replace a group of errors by one of them, preferably a DrillError."""
    try:
        yield
    except ExceptionGroup as group:
        errors = list(leaves(group))
        raise next((e for e in errors if isinstance(e, DrillError)), errors[0]) from None


def leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from leaves(error)
        else:
            yield error


#: Timeout until a release's pods are ready.
INSTALL_SECONDS = 60.0


class LocalCluster:
    """See ``drill.backend.Cluster``."""

    def __init__(
        self, plan: Plan, folder: Path, timeline: Timeline, stable: "LocalCluster | None" = None
    ) -> None:
        self.timeline = timeline
        self.table = EndpointTable(plan.propagation, timeline.now)
        self._plan = plan
        self._logs = folder
        self._manifests = Manifests(plan)
        self._nodes = Nodes()
        self._stable = stable or self
        self._canaries: list[LocalCluster] = []
        self._management: dict[str, int] = {}
        # What two releases have in common.
        self.records: list[PodRecord] = stable.records if stable else []
        self._places: Iterator[Place] = stable._places if stable else places()
#% if cookiecutter.monitoring == "prometheus"
        targets = folder.parent / "targets.json"
        self._targets: Targets = stable._targets if stable else Targets(targets)
#% endif
        self._ledger: Ledger = stable._ledger if stable else Ledger(timeline.now)

    @property
    def changes(self) -> list[Change]:
        return [change for one in (self, *self._canaries) for change in one.table.changes]

    async def __aenter__(self) -> Self:
        self._place = next(self._places)
        installed = await self._render()
        self.workload = installed.workload
        self._budget = Budget.read(installed.release.all("PodDisruptionBudget"))
        async with AsyncExitStack() as stack:
            stack.enter_context(one_error())
            # A short path: those of Unix sockets are limited.
            self._volumes = Path(tempfile.mkdtemp(prefix="pods-"))
            stack.callback(shutil.rmtree, self._volumes, ignore_errors=True)
            self._processes = await stack.enter_async_context(Processes())
            services = [Service.read(found) for found in installed.release.all("Service")]
            self._api = await stack.enter_async_context(SliceApi(services, fault=self._plan.api))
            stack.callback(self.table.subscribe(self._tell_api))
            self._address = await stack.enter_async_context(ServiceAddress(self.table.seen))
            self._tasks = await stack.enter_async_context(asyncio.TaskGroup())
            self._deployment = Deployment(self.workload, self._plan.replicas, self._create)
            self._controller = self._tasks.create_task(self._deployment.run())
            self._clients = Clients(
                self._plan, self.table, self.timeline, self._tasks, self._ledger
            )
            await self._installed()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        async with self._stack:  # kills remaining processes
            if error is not None:
                raise error
            self._deployment.end()
            await asyncio.gather(*[pod.gone.wait() for pod in self._deployment.pods])
            await self._clients.stop()
            self._controller.cancel()

    def pods(self) -> Sequence[PodRecord]:
        return [pod.record for pod in self._deployment.pods if not pod.stopping.is_set()]

    async def update(self, patch: Patch) -> None:
        patches = (*self._deployment.patches, patch)
        self._deployment.update(patches, (await self._render(patches)).workload)

    async def roll_back(self) -> None:
        patches = self._deployment.previous_patches
        self._deployment.roll_back((await self._render(patches)).workload)

    async def rolled_out(self) -> None:
        if not await self._deployment.rolled_out():
            raise self._problem("the rollout made no progress within its deadline")

    def is_rolled_out(self) -> bool:
        return self._deployment.complete

    async def scale(self, replicas: int) -> None:
        self._deployment.scale(replicas)

    async def crash(self, pod: PodRecord) -> None:
        await self._pod(pod).crash()

    async def delete(self, pod: PodRecord, grace: float) -> None:
        self._pod(pod).delete(grace)

    async def evict(self, pod: PodRecord) -> None:
        self._pod(pod).evict()

    async def drain(self, node: str) -> None:
        def allowed(pod: Pod) -> bool:
            return self._budget.allows(pod, self._deployment.pods, self._deployment.replicas)

        self._nodes.cordoned.add(node)
        pods = [pod for pod in self._deployment.pods if pod.active and pod.record.node == node]
        await asyncio.gather(*[evict(pod, allowed) for pod in pods])

    async def get(self, pod: PodRecord, target: str) -> int:
        answer = await ask(pod.address, self.table.current[pod.name].port, target)
        return answer.head.status if answer else 0

    async def metrics(self) -> Mapping[str, str]:
        found = {
            pod.name: await ask(pod.address, self._management[pod.name], "/metrics")
            for pod in self.pods()
        }
        return {name: answer.body.decode() for name, answer in found.items() if answer}

    def beside(self, change: Callable[[Plan], Plan]) -> "LocalCluster":
        canary = LocalCluster(change(self._plan), self._logs, self.timeline, self)
        self._canaries.append(canary)
        return canary

    async def take(self, weight: int) -> None:
        stable, plan = self._stable, self._plan
        name = (await self._render()).service["metadata"]["name"]
        values = stable._plan.values
        part = await asyncio.to_thread(routed_share, values, plan.release, name, weight)
        await asyncio.sleep(random.uniform(*plan.propagation))
        stable._clients.divide(self._clients, part)

    async def settled(self) -> None:
        within = self.workload.template.grace + self.workload.progress_deadline
        if not await self._deployment.until(lambda: self._deployment.settled, within):
            raise self._problem(f"pods are still starting or stopping after {within:g} s")
        await self._clients_know()

    async def start_load(self) -> None:
        self._clients.start()

    async def multiply_load(self, factor: float) -> None:
        self._clients.set_rate(factor * self._plan.rate)

    async def start_slow_clients(self) -> None:
        self._clients.start_slow_clients()

    async def stop_load(self) -> LoadResult:
        return await self._clients.stop()

    async def _render(
        self, patches: tuple[Patch, ...] = (), place: Place | None = None
    ) -> Rendered:
        return await asyncio.to_thread(self._manifests.render, place or self._place, patches)

    async def _installed(self) -> None:
        """Wait until all pods are available; a pod that exits before has failed."""

        def decided() -> bool:
            pods = self._deployment.pods
            return self._deployment.complete or any(p.record.exit_code is not None for p in pods)

        await self._deployment.until(decided, INSTALL_SECONDS + self.workload.min_ready)
        if not self._deployment.complete:
            raise self._problem(f"the release was not ready within {INSTALL_SECONDS:g} s")
        await self._clients_know()

    async def _clients_know(self) -> None:
        await asyncio.sleep(self.table.settled_at - self.timeline.now())

    def _create(self, replica_set: ReplicaSet) -> Pod:
        """Create a pod with a name, a node and a place, and start it."""
        canary = self._stable is not self
        name = f"{self._plan.release}-{replica_set.next_name}" if canary else replica_set.next_name
        place = next(self._places)
        self._management[name] = place.management_port
        there = [(p.record.node, p.record.revision) for p in self._deployment.pods if p.active]
        node = self._nodes.choose(replica_set.revision, there)
        log = self._logs / f"{name}.log"
        record = PodRecord(name, replica_set.revision, node, place.host, log, canary=canary)
        self.records.append(record)
        pod = Pod(record, self.table, self.timeline, self._deployment.poke)

        async def make() -> tuple[Container, int]:
            rendered = await self._render(replica_set.patches, place)
            there = self._address.variables(rendered.workload.template.container)
            variables = {**self._api.variables, **there, **self._plan.environment}
            folder = self._volumes / name
            return Container(rendered, record, folder, self._processes, variables), rendered.port

#% if cookiecutter.monitoring == "prometheus"
        self._targets.add(name, place)
        task = self._tasks.create_task(pod.run(make), name=f"pod {name}")
        task.add_done_callback(lambda _: self._targets.remove(name))
#% else
        self._tasks.create_task(pod.run(make), name=f"pod {name}")
#% endif
        return pod

    def _tell_api(self, change: Change) -> None:
        node = next((r.node for r in self.records if r.name == change.pod), "")
        self._api.publish(change.pod, change.endpoint, node)

    def _pod(self, record: PodRecord) -> Pod:
        return next(pod for pod in self._deployment.pods if pod.record is record)

    def _problem(self, what: str) -> DrillError:
        """Return why a pod is not ready, with its log, or ``what`` if all are."""
        pods = [pod for pod in self._deployment.pods if pod.active and pod.ready_since is None]
        if not pods:
            return DrillError(f"{what}.")
        pod = max(pods, key=lambda pod: pod.record.exit_code is not None)
        return DrillError(pod.problem, log=pod.record.log)


class LocalBackend:
    """Writes logs to a numbered folder for each rehearsal, under ``folder``.

    Without ``folder`` they are kept until the drill ends. ``echo`` receives events.
    """

    name = "local"
    unsupported: Mapping[str, str] = {}

    def __init__(
        self, echo: Callable[[str], None] = lambda line: None, folder: Path | None = None
    ) -> None:
        self._echo = echo
        self._logs = LogFolders(folder)

    def open(self, plan: Plan) -> LocalCluster:
        return LocalCluster(plan, self._logs.next(), Timeline(self._echo))
