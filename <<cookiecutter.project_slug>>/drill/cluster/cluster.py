"""A release in a real cluster, for the length of a rehearsal."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from drill.backend import LoadResult, Patch
from drill.chart.workload import Workload
from drill.cluster import acts, installation, target
from drill.cluster.api import Api
from drill.cluster.clock import ClusterTimeline
from drill.cluster.context import connect
from drill.cluster.load import ClusterLoad
from drill.cluster.pods import Pods
from drill.cluster.resources import Resources
from drill.cluster.rollout import Rollout
from drill.cluster.scene import Scene
from drill.cluster.tracker import Tracker
from drill.cluster.undo import Undo
from drill.errors import DrillError
from drill.load.__main__ import Options
from drill.plan import Plan
from drill.record import Change, PodRecord
from drill.timeline import Timeline

#: A stock kube-proxy applies a change within a second; new connections came for a second more.
CLIENTS_SECONDS = 3.0


@dataclass(frozen=True)
class Place:
    """Where to drill; without ``release`` one is installed there."""

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
                self._scene = await installation.take(scene, self._plan)
            else:
                await installation.install(scene)
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
        """The nodes do not say when they have applied the endpoints: that is waited for."""
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
        host = target.address(await scene.api.get(service))
        options = Options(host, scene.target.port, plan.rate, plan.streams, plan.routes)
        await self._load.start(scene.name, scene.tracker.deployment, options)

    async def stop_load(self) -> LoadResult:
        return await self._load.stop()

    async def _prepare(self, api: Api) -> Scene:
        """The scene before anything has been done in it."""
        name, namespace, plan = f"drill-{secrets.token_hex(3)}", self._place.namespace, self._plan
        if self._place.release:
            found = await target.existing(api, namespace, self._place.release)
        else:
            found = await asyncio.to_thread(target.rendered, plan, name, namespace)
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
        """Everything is taken back; what cannot be is said, or raised if nothing else is."""
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
