"""[drill.local.nodes] The nodes: names to put pods on.
[drill.local.disruption] The Eviction API and disruption budgets, as `kubectl drain` meets them.

The rules are those of "API-initiated Eviction", "Specifying a Disruption
Budget for your Application" and ``pkg/registry/core/pod/storage/eviction.go``.

"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Self

from drill.chart import Manifest, scaled
from drill.errors import DrillError
from drill.local.kubelet import Pod

NODES = ("node-1", "node-2", "node-3")


class Nodes:
    """Spreads pods as the chart's topologySpreadConstraints ask: by revision, then by number."""

    def __init__(self) -> None:
        self.cordoned: set[str] = set()

    def choose(self, revision: int, pods: Collection[tuple[str, int]]) -> str:
        """The node for one more pod; ``pods`` has the node and the revision of each there is."""

        def load(node: str) -> tuple[int, int]:
            return pods_on(node, of_revision=True), pods_on(node, of_revision=False)

        def pods_on(node: str, *, of_revision: bool) -> int:
            return sum(n == node and (r == revision or not of_revision) for n, r in pods)

        free = [node for node in NODES if node not in self.cordoned]
        if not free:
            raise DrillError("every node is cordoned: there is no place for another pod.")
        return min(free, key=load)


#: kubectl asks again after 5 s; less here, for rehearsals are short.
RETRY_SECONDS = 1.0
#: kubectl would ask for ever.
PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget over the pods of one Deployment. Without one all may go."""

    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    #: unhealthyPodEvictionPolicy: AlwaysAllow.
    unhealthy_may_go: bool = False

    @classmethod
    def read(cls, manifests: Sequence[Manifest]) -> Self:
        if not manifests:
            return cls()
        spec = manifests[0]["spec"]
        policy = spec.get("unhealthyPodEvictionPolicy", "IfHealthyBudget")
        return cls(spec.get("minAvailable"), spec.get("maxUnavailable"), policy == "AlwaysAllow")

    def allows(self, pod: Pod, pods: Sequence[Pod], replicas: int) -> bool:
        """Whether the pod may go now; False is the API's 429."""
        wanted = self._healthy(replicas)
        healthy = sum(p.ready_since is not None for p in pods if not p.deleted)
        if pod.ready_since is None and not pod.deleted:
            return self.unhealthy_may_go or wanted == 0 or healthy >= wanted
        return healthy > wanted

    def _healthy(self, replicas: int) -> int:
        """How many have to stay; percentages are rounded up (disruption controller)."""
        if self.max_unavailable is not None:
            return max(replicas - scaled(self.max_unavailable, replicas, up=True), 0)
        if self.min_available is not None:
            return scaled(self.min_available, replicas, up=True)
        return 0


async def evict(pod: Pod, allowed: Callable[[Pod], bool]) -> None:
    """Deletes the pod once its budget allows it and waits until it is gone. Raises DrillError."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while pod.active and not allowed(pod):  # noqa: ASYNC110 - it asks, as kubectl does
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError:
        raise DrillError(
            f"the PodDisruptionBudget kept {pod.record.name} on its node for "
            f"{PATIENCE_SECONDS:g} s: raise podDisruptionBudget.maxUnavailable."
        ) from None
    pod.delete()
    await pod.gone.wait()
