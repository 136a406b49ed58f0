"""The Deployment controller and its ReplicaSets.

See "Deployments" in the Kubernetes documentation and
``pkg/controller/deployment/rolling.go``. Unlike there, scaling during an update
is not spread proportionally over the ReplicaSets.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from drill.chart import Patch, Workload
from drill.errors import DrillError
from drill.local.kubelet import Pod


@dataclass
class ReplicaSet:
    """The pods of one revision, running or gone, oldest first."""

    revision: int
    #: The patches that turn the installed Deployment into this revision.
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
        """Count the pods that have been ready for ``min_ready`` seconds."""
        now = time.monotonic()
        return sum(
            pod.ready_since is not None and now - pod.ready_since >= min_ready
            for pod in self.active
        )

    def reconcile(self, create: Callable[["ReplicaSet"], Pod], all_pods: Sequence[Pod]) -> None:
        """Create missing pods, delete surplus ones."""
        missing = self.replicas - len(self.active)
        for _ in range(missing):
            self.pods.append(create(self))
        for pod in victims(self.active, all_pods)[: max(-missing, 0)]:
            pod.delete()


def victims(pods: Sequence[Pod], all_pods: Sequence[Pod]) -> list[Pod]:
    """Return the pods in the order in which a ReplicaSet deletes them (ActivePodsWithRanks).

    Not ready first, then on nodes with more pods of the Deployment, last to become
    ready, most restarts, youngest. The real one compares ages by powers of two, then
    at random.
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


class Deployment:
    """Reconciles the pods while ``run`` runs; call ``poke`` after every change of a pod."""

    def __init__(
        self, workload: Workload, replicas: int, create: Callable[[ReplicaSet], Pod]
    ) -> None:
        self.replicas = replicas
        self._workload = workload
        self._create = create
        self._sets = [ReplicaSet(1, ())]
        self._wanted = self._sets[0]
        self._before: list[ReplicaSet] = []
        self._ended = False
        self._poked = asyncio.Event()
        self._synced = asyncio.Event()
        self._progress = (0, 0, 0)
        self._progressed_at = time.monotonic()

    @property
    def pods(self) -> list[Pod]:
        """Every pod that ever existed, oldest first."""
        pods = [pod for one in self._sets for pod in one.pods]
        return sorted(pods, key=lambda pod: pod.created_at)

    @property
    def patches(self) -> tuple[Patch, ...]:
        """The patches that turn the installed Deployment into the wanted revision."""
        return self._wanted.patches

    @property
    def previous_patches(self) -> tuple[Patch, ...]:
        if not self._before:
            raise DrillError("there is no revision to roll back to.")
        return self._before[-1].patches

    @property
    def complete(self) -> bool:
        """Return whether all active pods are wanted and available (DeploymentComplete)."""
        available = self._wanted.available(self._workload.min_ready)
        active = sum(len(one.active) for one in self._sets)
        return self.replicas == len(self._wanted.active) == active == available

    @property
    def settled(self) -> bool:
        """Return whether every pod is gone or wanted, ready and not stopping."""
        left = [pod for pod in self.pods if not pod.gone.is_set()]
        ready = [pod for pod in left if pod.ready_since is not None and not pod.stopping.is_set()]
        return self.replicas == len(self._wanted.active) == len(ready) == len(left)

    def update(self, patches: tuple[Patch, ...], workload: Workload) -> None:
        """Start the update to a new revision."""
        self._before.append(self._wanted)
        self._want(ReplicaSet(len(self._sets) + 1, patches), workload)
        self._sets.append(self._wanted)

    def roll_back(self, workload: Workload) -> None:
        """Return to the previous ReplicaSet, with the pods it still has."""
        previous = self._before.pop()
        self._before.append(self._wanted)
        self._want(previous, workload)

    def scale(self, replicas: int) -> None:
        self.replicas = replicas
        self._want(self._wanted, self._workload)

    def end(self) -> None:
        """Delete all pods, as uninstalling does."""
        self._ended = True
        for pod in self.pods:
            pod.delete()

    def poke(self) -> None:
        self._poked.set()

    async def run(self) -> None:
        """Reconcile after every change, and when a pod becomes available."""
        while True:
            self._poked.clear()
            self._sync()
            self._note_progress()
            self._synced.set()
            self._synced = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._next_available()):
                    await self._poked.wait()

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait for a condition, checked at each change; return False after ``within`` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not condition():
                    await self._synced.wait()
        return condition()

    async def rolled_out(self) -> bool:
        """Wait until complete; return False when the progress deadline has passed."""
        while not self.complete:
            deadline = self._progressed_at + self._workload.progress_deadline
            if (left := deadline - time.monotonic()) <= 0:
                return False
            await self.until(lambda: self.complete, within=left)
        return True

    def _want(self, replica_set: ReplicaSet, workload: Workload) -> None:
        self._wanted, self._workload = replica_set, workload
        self._progressed_at = time.monotonic()
        self.poke()

    def _sync(self) -> None:
        """Take every step that is possible now."""
        while not self._ended and (self._scale_up() or self._scale_down()):
            self._reconcile()
        if not self._ended:
            self._reconcile()

    def _reconcile(self) -> None:
        for one in self._sets:
            one.reconcile(self._create, self.pods)

    def _scale_up(self) -> bool:
        """Scale the wanted ReplicaSet up, within the surge (reconcileNewReplicaSet)."""
        surge, _ = self._workload.surge(self.replicas)
        room = self.replicas + surge - sum(one.replicas for one in self._sets)
        missing = self.replicas - self._wanted.replicas
        step = min(missing, max(room, 0))
        self._wanted.replicas += step
        return step != 0

    def _scale_down(self) -> bool:
        """Scale others down, unavailable pods first (reconcileOldReplicaSets)."""
        others = [one for one in self._sets if one is not self._wanted and one.replicas]
        least = self.replicas - self._workload.surge(self.replicas)[1]
        available = {one.revision: self._available(one) for one in self._sets}
        starting = self._wanted.replicas - available[self._wanted.revision]
        room = sum(one.replicas for one in self._sets) - least - starting
        if not others or room <= 0:
            return False
        taken = 0
        for one in others:
            step = min(room - taken, max(one.replicas - available[one.revision], 0))
            one.replicas -= step
            taken += step
        spare = max(sum(available.values()) - least, 0)
        for one in others:
            step = min(one.replicas, spare)
            one.replicas -= step
            spare -= step
            taken += step
        return taken > 0

    def _available(self, one: ReplicaSet) -> int:
        return one.available(self._workload.min_ready)

    def _note_progress(self) -> None:
        """Record progress as deploymentutil.DeploymentProgressing defines it."""
        wanted = self._wanted
        others = sum(len(one.active) for one in self._sets if one is not wanted)
        progress = (len(wanted.active), -others, sum(map(self._available, self._sets)))
        if any(new > old for new, old in zip(progress, self._progress, strict=True)):
            self._progressed_at = time.monotonic()
        self._progress = progress

    def _next_available(self) -> float | None:
        """Return the seconds until the next ready pod becomes available."""
        now, least = time.monotonic(), self._workload.min_ready
        ready = [pod.ready_since for pod in self.pods if pod.active and pod.ready_since is not None]
        return min((at + least - now for at in ready if at + least > now), default=None)
