"""What everything that is done in a cluster needs to know of where it is done."""

from collections.abc import Callable
from dataclasses import dataclass

from drill.cluster.api import Api
from drill.cluster.clock import ClusterTimeline
from drill.cluster.resources import Resources
from drill.cluster.rollout import Rollout
from drill.cluster.target import Target
from drill.cluster.tracker import Tracker
from drill.cluster.undo import Undo

#: From a request to the kubelet until the pod shows that it acts.
KUBELET_SECONDS = 60.0


@dataclass(frozen=True)
class Scene:
    """One release under drill."""

    api: Api
    #: The name of what the drill makes.
    name: str
    namespace: str
    timeline: ClusterTimeline
    tracker: Tracker
    undo: Undo
    resources: Resources
    target: Target
    rollout: Rollout

    def path(self, kind: str, name: str) -> str:
        """Of an object of the core API."""
        return f"/api/v1/namespaces/{self.namespace}/{kind}/{name}"

    @property
    def patience(self) -> float:
        """How long one pod may take to stop and another to start, in seconds."""
        workload = self.target.workload
        return workload.template.grace + workload.progress_deadline + KUBELET_SECONDS

    async def until(self, so: Callable[[], bool], otherwise: str) -> None:
        await self.tracker.until(so, self.patience, otherwise)
