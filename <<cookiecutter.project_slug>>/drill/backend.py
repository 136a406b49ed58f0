"""What a scenario can do to a cluster, and what is recorded of it.

Times are seconds on the cluster's timeline. Events of pods carry these names,
whatever the backend:

    started          the container runs, also after a restart
    ready, unready   the readiness condition changed
    deleted          the API server took the deletion
    evicted          the kubelet stops the pod and nobody deleted it
    preStop ended    the hook returned; detail says how
    SIGTERM, SIGKILL the signals, when they were sent
    exited           the container ended; detail says with which code
    unwell           the kubelet ends the container for a failed probe; detail says which
    restarting       the kubelet will start the container again; detail says why
    gone             the pod is no more
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from drill.chart import Patch, Workload
from drill.load.ledger import Ledger
from drill.plan import Plan
from drill.record import Change, PodRecord, Timeline


class Cluster(Protocol):
    """One release in one cluster for the length of a rehearsal.

    Entering it installs the release and returns when every pod is ready and
    the clients know; leaving it removes all that was made. Both raise
    ``DrillError``. Acts return as soon as the API would have, unless said.
    """

    timeline: Timeline
    #: The Deployment as it was installed.
    workload: Workload
    #: Every pod there was.
    records: list[PodRecord]

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    @property
    def changes(self) -> list[Change]:
        """Every change of the endpoints."""
        ...

    def pods(self) -> Sequence[PodRecord]:
        """Those that run and are not being deleted, oldest first."""
        ...

    async def update(self, patch: Patch) -> None:
        """A new revision, made from the last by ``patch``; the rolling update begins."""
        ...

    async def roll_back(self) -> None:
        """The revision before the last again, as `helm rollback` would."""
        ...

    async def rolled_out(self) -> None:
        """Returns when all pods are available and of the last revision."""
        ...

    def is_rolled_out(self) -> bool: ...

    async def scale(self, replicas: int) -> None: ...

    async def crash(self, pod: PodRecord) -> None:
        """SIGKILL to its container, with no warning to anybody."""
        ...

    async def delete(self, pod: PodRecord, grace: float) -> None:
        """`kubectl delete pod --grace-period`: ``grace`` seconds instead of the pod's own."""
        ...

    async def evict(self, pod: PodRecord) -> None:
        """The kubelet ends it for want of memory or before a shutdown: nobody deletes it."""
        ...

    async def drain(self, node: str) -> None:
        """Cordons the node, evicts its pods as `kubectl drain` does, returns when they are gone."""
        ...

    async def get(self, pod: PodRecord, target: str) -> int:
        """The status of a GET to the main port of this very pod."""
        ...

    async def settled(self) -> None:
        """Returns when no pod is starting or stopping and the clients know all there is to know."""
        ...

    async def start_load(self) -> None: ...

    async def stop_load(self) -> "LoadResult": ...


@dataclass(frozen=True)
class LoadResult:
    """What came of the load."""

    ledger: Ledger
    #: How far the load fell behind its own schedule at worst, in seconds.
    late: float


class Backend(Protocol):
    """Where clusters come from."""

    name: str
    #: Scenarios that cannot be run there, and why.
    unsupported: Mapping[str, str]

    def open(self, plan: Plan) -> Cluster:
        """A cluster for one rehearsal; it is made when it is entered."""
        ...
