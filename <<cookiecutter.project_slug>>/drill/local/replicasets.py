"""ReplicaSets: as many pods of one revision as they are told to have."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from drill.backend import Patch
from drill.local.kubelet import Pod


@dataclass
class ReplicaSet:
    """The pods of one revision, alive or gone, oldest first."""

    revision: int
    #: What makes this revision of the Deployment as it was installed.
    patches: tuple[Patch, ...]
    replicas: int = 0
    pods: list[Pod] = field(default_factory=list)

    @property
    def active(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.active]

    @property
    def next_name(self) -> str:
        """a1, a2, ... for the first revision, b1 for the second."""
        return f"{chr(ord('a') + (self.revision - 1) % 26)}{len(self.pods) + 1}"

    def available(self, min_ready: float) -> int:
        """How many have been ready for ``min_ready`` seconds."""
        now = time.monotonic()
        return sum(
            pod.ready_since is not None and now - pod.ready_since >= min_ready
            for pod in self.active
        )

    def reconcile(self, create: Callable[["ReplicaSet"], Pod], all_pods: Sequence[Pod]) -> None:
        """Creates or deletes what is missing or too many."""
        missing = self.replicas - len(self.active)
        for _ in range(missing):
            self.pods.append(create(self))
        for pod in victims(self.active, all_pods)[: max(-missing, 0)]:
            pod.delete()


def victims(pods: Sequence[Pod], all_pods: Sequence[Pod]) -> list[Pod]:
    """In the order in which a ReplicaSet gives them up (controller.ActivePodsWithRanks).

    Those that are not ready, those that share their node with more pods of the
    Deployment, the last to have become ready, the most restarted, the youngest.
    The real one compares ages by powers of two and then by chance.
    """
    on_node = Counter(pod.record.node for pod in all_pods if pod.active)

    def rank(pod: Pod) -> tuple[float, ...]:
        ready = pod.ready_since
        return (
            ready is not None,
            -on_node[pod.record.node],
            -(ready or 0.0),
            -pod.record.restarts,
            -pod.created_at,
        )

    return sorted(pods, key=rank)
