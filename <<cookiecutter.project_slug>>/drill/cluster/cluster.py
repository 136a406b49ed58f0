"""The cluster backend: a release in a real cluster, for one rehearsal."""

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from drill.backend import LoadResult, LogFolders
from drill.chart import Patch, Workload
from drill.cluster import acts, release
from drill.cluster.api import Api, connect, current_context
from drill.cluster.load import ClusterLoad
from drill.cluster.pods import ClusterTimeline, Pods
from drill.cluster.release import Rollout, Scene
from drill.cluster.resources import Resources, Undo
from drill.cluster.tracker import Tracker
from drill.errors import DrillError
from drill.load.__main__ import Options
from drill.plan import ApiFault, Plan
from drill.record import Change, PodRecord, Timeline

#: A default kube-proxy applies a change within a second; connections arrive one second longer.
CLIENTS_SECONDS = 3.0


ONE_LOAD = "the load's Job in the cluster sends one rate and has no slow clients"
NO_GATEWAY = "requests are divided by a Gateway, and the load's Job calls the Service"


@dataclass(frozen=True)
class Place:
    """Where to drill; without ``release``, one is installed."""

    kubeconfig: str
    context: str
    namespace: str
    release: str | None = None


class KubernetesCluster:
    """See ``drill.backend.Cluster``."""

    timeline: Timeline
    workload: Workload

    def __init__(self, plan: Plan, place: Place, folder: Path, timeline: ClusterTimeline) -> None:
        self.timeline = timeline
        self.records: list[PodRecord] = []
        self._clock = timeline
        self._plan = plan
        self._place = place
        self._pods = Pods(self.records, timeline, folder)
        self._undo = Undo(timeline.mark)

    @property
    def changes(self) -> list[Change]:
        return self._scene.tracker.changes

    async def __aenter__(self) -> Self:
        api = await connect(self._place.context, self._place.kubeconfig)
        try:
            self._scene = scene = await self._prepare(api)
        except BaseException:
            await api.close()
            raise
        self._load = ClusterLoad(api, scene.namespace, scene.resources, self._clock)
        try:
            if self._place.release:
                self._scene = await release.adopt(scene, self._plan)
            else:
                await release.install(scene)
            self.workload = self._scene.target.workload
            deadline = self.workload.progress_deadline
            await scene.rollout.completed(deadline, self._pods.hopeless)
            await self.settled()
        except BaseException as error:
            await self._leave(error)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave(error)

    def pods(self) -> Sequence[PodRecord]:
        return self._pods.live()

    async def update(self, patch: Patch) -> None:
        await self._scene.rollout.update(patch)

    async def roll_back(self) -> None:
        await self._scene.rollout.roll_back()

    async def rolled_out(self) -> None:
        await self._scene.rollout.completed(self.workload.progress_deadline)

    def is_rolled_out(self) -> bool:
        return self._scene.rollout.complete()

    async def scale(self, replicas: int) -> None:
        await self._scene.rollout.scale(replicas)

    async def crash(self, pod: PodRecord) -> None:
        await acts.kill(self._scene, pod)

    async def delete(self, pod: PodRecord, grace: float) -> None:
        await acts.delete(self._scene, pod, grace)

    async def evict(self, pod: PodRecord) -> None:
        await acts.evict(self._scene, pod)

    async def drain(self, node: str) -> None:
        await acts.drain(self._scene, node)

    async def get(self, pod: PodRecord, target: str) -> int:
        return await acts.get(self._scene, pod, target)

    async def settled(self) -> None:
        """Nodes do not report when they have applied endpoints, so this waits a fixed time."""
        scene = self._scene
        while True:
            await scene.until(scene.rollout.settled, "pods still start or stop")
            wait = self.changes[-1].at + CLIENTS_SECONDS - self.timeline.now()
            if wait <= 0:
                return
            await asyncio.sleep(wait)

    async def start_load(self) -> None:
        scene, plan = self._scene, self._plan
        service = scene.path("services", scene.target.service["metadata"]["name"])
        host = release.cluster_ip(await scene.api.get(service))
        options = Options(host, scene.target.port, plan.rate, plan.streams, plan.routes)
        await self._load.start(scene.name, scene.tracker.deployment, options)

    async def multiply_load(self, factor: float) -> None:
        raise DrillError(f"the load cannot change: {ONE_LOAD}.")

    async def start_slow_clients(self) -> None:
        raise DrillError(f"no slow clients can start: {ONE_LOAD}.")

    async def metrics(self) -> Mapping[str, str]:
        raise DrillError(f"no metrics are read here: {NO_GATEWAY}.")

    def beside(self, change: Callable[[Plan], Plan]) -> NoReturn:
        raise DrillError(f"no canary can be installed: {NO_GATEWAY}.")

    async def take(self, weight: int) -> None:
        self.beside(lambda plan: plan)

    async def stop_load(self) -> LoadResult:
        return await self._load.stop()

    async def _prepare(self, api: Api) -> Scene:
        """Return the scene; changes nothing in the cluster."""
        name, namespace, plan = f"drill-{secrets.token_hex(3)}", self._place.namespace, self._plan
        if self._place.release:
            found = await release.existing(api, namespace, self._place.release)
        else:
            found = await asyncio.to_thread(release.rendered, plan, name, namespace)
        deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        tracker = Tracker(api, namespace, self._pods, self._clock)
        return Scene(
            api=api,
            name=name,
            namespace=namespace,
            timeline=self._clock,
            tracker=tracker,
            undo=self._undo,
            resources=Resources(api, namespace, self._undo),
            target=found,
            rollout=Rollout(api, f"{deployments}/{found.workload.name}", tracker),
        )

    async def _leave(self, error: BaseException | None) -> None:
        """Undo everything. What remains is reported, or raised if there is no other error."""
        try:
            await self._undo.run()
        except DrillError as left:
            if error is None:
                raise
            self.timeline.mark(str(left))
        finally:
            await self._load.cancel()
            await self._scene.tracker.stop()
            await self._scene.api.close()


class ClusterBackend:
    """Installs a release for each rehearsal, or uses the one named ``release``.

    ``context`` must name the current context, as a confirmation. Pods' logs go to a
    numbered folder for each rehearsal, under ``folder``; without it they are kept
    until the drill ends.
    """

    name = "cluster"
    unsupported: Mapping[str, str] = {
        "slow-endpoints": "the drill cannot slow down the nodes' kube-proxy",
        "overload": ONE_LOAD,
        "slow-clients": ONE_LOAD,
        **dict.fromkeys(("canary", "canary-errors", "canary-slow"), NO_GATEWAY),
#% if cookiecutter.database == "postgresql"
        "migration": "the drill does not change the schema of a cluster's database",
#% endif
        **{f"api-{fault}": "the drill cannot break the API server" for fault in ApiFault},
    }

    def __init__(
        self,
        context: str | None,
        namespace: str = "default",
        release: str | None = None,
        echo: Callable[[str], None] = lambda line: None,
        folder: Path | None = None,
    ) -> None:
        """Raises DrillError if ``context`` is not the current context."""
        kubeconfig = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        current = current_context(kubeconfig)
        if context is None:
            raise DrillError(
                f"the current context is {current}: confirm it with --context {current}."
            )
        if context != current:
            raise DrillError(
                f"--context {context} is not the current context, which is {current}: "
                f"run `kubectl config use-context {context}` if that is the right one."
            )
        self._place = Place(kubeconfig, context, namespace, release)
        self._echo = echo
        self._logs = LogFolders(folder)

    def open(self, plan: Plan) -> KubernetesCluster:
        return KubernetesCluster(plan, self._place, self._logs.next(), ClusterTimeline(self._echo))
