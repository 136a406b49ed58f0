"""What a backend provides: clusters that scenarios act on.

Times are seconds on the cluster's timeline. Every backend records the same
events of pods:

    started          the container started or restarted
    ready, unready   the readiness condition changed
    deleted          the API server accepted the deletion
    evicted          the kubelet stops the pod without a deletion
    preStop ended    the hook returned; detail has its exit code
    SIGTERM, SIGKILL the signal was sent
    exited           the container ended; detail has its exit code
    liveness failed  a liveness probe failed; the kubelet acts after some (local backend only)
    probe failed     the kubelet stops the container for a failed probe; detail names it
    restarting       the kubelet will start the container again; detail has the reason
    gone             the pod no longer exists
"""

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from drill.chart import Patch, Workload
from drill.load.ledger import Ledger
from drill.plan import Plan
from drill.record import Change, PodRecord, Timeline


class Cluster(Protocol):
    """One release in one cluster, for one rehearsal.

    Entering it installs the release and returns when every pod is ready and
    the clients have seen them. Leaving it removes everything. Both raise
    ``DrillError``. Acts return when the API would, unless stated otherwise.
    """

    timeline: Timeline
    #: The Deployment as installed.
    workload: Workload
    #: Every pod that ever existed.
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
        """Return the pods that are not being deleted, oldest first."""
        ...

    async def update(self, patch: Patch) -> None:
        """Start a rolling update to the last revision changed by ``patch``."""
        ...

    async def roll_back(self) -> None:
        """Return to the previous revision, as `helm rollback` does."""
        ...

    async def rolled_out(self) -> None:
        """Wait until all pods are available and of the last revision."""
        ...

    def is_rolled_out(self) -> bool: ...

    async def scale(self, replicas: int) -> None: ...

    async def crash(self, pod: PodRecord) -> None:
        """Send SIGKILL to the pod's container."""
        ...

    async def delete(self, pod: PodRecord, grace: float) -> None:
        """Delete the pod with a grace period of its own, as `kubectl delete --grace-period`."""
        ...

    async def evict(self, pod: PodRecord) -> None:
        """Let the kubelet stop the pod, as under memory pressure or a node's shutdown."""
        ...

    async def drain(self, node: str) -> None:
        """Cordon the node, evict its pods as `kubectl drain` does, wait until they are gone."""
        ...

    async def get(self, pod: PodRecord, target: str) -> int:
        """Return the status of a GET to this pod's main port, 0 if there was no answer."""
        ...

    async def metrics(self) -> Mapping[str, str]:
        """Return what ``/metrics`` says, by the names of the pods that answer."""
        ...

    def beside(self, change: Callable[[Plan], Plan]) -> "Cluster":
        """Return a second release with a changed plan, to be entered and left as this one.

        Clients do not know it until it is told to ``take``.
        """
        ...

    async def take(self, weight: int) -> None:
        """Give a release from ``beside`` so many percent of the requests, as the route would.

        Returns when the clients' gateway has applied it.
        """
        ...

    async def settled(self) -> None:
        """Wait until no pod starts or stops and the clients have seen every change."""
        ...

    async def start_load(self) -> None: ...

    async def multiply_load(self, factor: float) -> None:
        """Send so many times the plan's rate of requests from now on."""
        ...

    async def start_slow_clients(self) -> None:
        """Start the plan's slow clients; they stay until the load stops."""
        ...

    async def stop_load(self) -> "LoadResult": ...


@dataclass(frozen=True)
class LoadResult:
    """The load's outcome."""

    ledger: Ledger
    #: How far the load fell behind its schedule, at most, in seconds.
    late: float


class Backend(Protocol):
    """Creates clusters."""

    name: str
    #: Scenarios that this backend cannot run, with the reason.
    unsupported: Mapping[str, str]

    def open(self, plan: Plan) -> Cluster:
        """Return a cluster for one rehearsal; entering it creates it."""
        ...


class LogFolders:
    """A numbered folder for the logs of each rehearsal; temporary without ``parent``."""

    def __init__(self, parent: Path | None) -> None:
        if parent is None:
            parent = Path(tempfile.mkdtemp(prefix="drill-"))
            atexit.register(shutil.rmtree, parent, ignore_errors=True)
        self._parent = parent
        self._count = 0

    def next(self) -> Path:
        self._count += 1
        folder = self._parent / str(self._count)
        folder.mkdir(parents=True)
        return folder
