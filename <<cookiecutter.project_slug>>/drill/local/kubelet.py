"""A pod, run as the kubelet runs it: started, probed, restarted, stopped.

https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/ and
``killContainer`` in ``pkg/kubelet/kuberuntime``.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from drill.chart import Action, Probe
from drill.local.containers import Container
from drill.local.endpoints import EndpointTable
from drill.local.machine import Process, is_free
from drill.local.probes import Prober, run_hook
from drill.record import Endpoint, PodRecord, Timeline

#: Minimum time after SIGTERM, even if the hook has used up the grace period
#: (minimumGracePeriodInSeconds).
LEAST_SECONDS = 2.0
#: The recorded exit code of a hook that did not return.
HUNG = 137


async def stop(
    container: Container,
    process: Process,
    exited: "asyncio.Future[int]",
    grace: float,
    record: PodRecord,
    timeline: Timeline,
) -> None:
    """Stop the container and wait for its end; ``grace`` includes the hook."""
    deadline = timeline.now() + grace
    if (action := container.template.pre_stop) is not None and grace > 0:
        record.pre_stop_code = code = await _run(action, container, exited, grace)
        timeline.mark("preStop ended", record.name, f"code {code}", quiet=True)
    if not exited.done():
        timeline.mark("SIGTERM", record.name, quiet=True)
        process.terminate()
        left = max(deadline - timeline.now(), LEAST_SECONDS)
        await asyncio.wait((exited,), timeout=left)
    if not exited.done():
        timeline.mark("SIGKILL", record.name, "the grace period is over")
        process.kill()
        await asyncio.wait((exited,))


async def _run(
    action: Action, container: Container, exited: "asyncio.Future[int]", grace: float
) -> int:
    """Run the hook, at most until the container or the grace period ends; return its code."""
    hook = asyncio.ensure_future(run_hook(action, container))
    try:
        await asyncio.wait((hook, exited), timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        if exited.done() and not hook.done():
            await asyncio.wait((hook,), timeout=1.0)  # let it return
        return hook.result() if hook.done() else HUNG
    finally:
        hook.cancel()
        await asyncio.wait((hook,))


#: Delay before a restart. The first restart is immediate, then this delay doubles up to five
#: minutes, as the kubelet's back-off does ("Pod Lifecycle", Container restarts).
BACK_OFF_SECONDS = 10.0
MAX_BACK_OFF_SECONDS = 300.0
#: After a stop begins, readiness may still succeed for this long: an exec hook has to start
#: its program first.
FLIP_SECONDS = 1.0


class Pod:
    """A pod, from its creation until it is gone.

    A deletion marks its endpoint as terminating and stops its container, both at
    once. An eviction only stops the container.
    """

    def __init__(
        self,
        record: PodRecord,
        table: EndpointTable,
        timeline: Timeline,
        changed: Callable[[], None],
    ) -> None:
        self.record = record
        self.created_at = time.monotonic()
        #: When it last became ready; None while it is not.
        self.ready_since: float | None = None
        #: It has a deletion timestamp.
        self.deleted = False
        #: It is being stopped; its container will not be restarted.
        self.stopping = asyncio.Event()
        self.gone = asyncio.Event()
        self._table = table
        self._timeline = timeline
        self._changed = changed
        self._told_at: float | None = None
        self._ports: tuple[int, ...] = ()
        self._process: Process | None = None
        self._exited: asyncio.Future[int] | None = None
        self._failed: asyncio.Future[tuple[str, Probe]]

    @property
    def active(self) -> bool:
        """Return whether its ReplicaSet counts it (controller.IsPodActive)."""
        return not self.deleted and not self.gone.is_set()

    @property
    def problem(self) -> str:
        """Return why it is not ready."""
        name, code = self.record.name, self.record.exit_code
        if code is None:
            return f"pod {name} does not become ready"
        taken = [port for port in self._ports if not is_free(self.record.address, port)]
        if taken:
            return (
                f"pod {name} exited with {code}: port {taken[0]} of {self.record.address} "
                "is in use by another program; run the drill again"
            )
        return f"pod {name} exited with {code} before it was ready"

    async def run(self, make: Callable[[], Awaitable[tuple[Container, int]]]) -> None:
        """Run the container that ``make`` returns, with its main port, until the pod is gone."""
        container, port = await make()
        self._ports = tuple(container.template.ports.values())
        record = self.record
        self._table.publish(Endpoint(record.name, record.address, port, terminating=self.deleted))
        back_off = 0.0
        while not self.stopping.is_set():
            why = await self._run_once(container)
            if self.stopping.is_set() or await self._stopped_within(back_off):
                break
            back_off = min(max(2 * back_off, BACK_OFF_SECONDS), MAX_BACK_OFF_SECONDS)
            record.restarts += 1
            self._timeline.mark("restarting", record.name, why)
        container.remove()
        self._table.remove(record.name)
        self.gone.set()
        self._timeline.mark("gone", record.name, quiet=True)
        self._changed()

    def delete(self, grace: float | None = None) -> None:
        """Mark the pod as deleted; the kubelet begins to stop the container.

        ``grace`` is in seconds, None for the pod's own.
        """
        if self.deleted or self.gone.is_set():
            return
        self.deleted = True
        self.record.grace = grace
        self._timeline.mark("deleted", self.record.name)
        if endpoint := self._table.current.get(self.record.name):
            self._table.publish(replace(endpoint, terminating=True))
        self.stopping.set()
        self._changed()

    def evict(self) -> None:
        """Stop the container; the API sees it only when the container has ended."""
        if not self.stopping.is_set():
            self._timeline.mark("evicted", self.record.name)
            self.stopping.set()

    async def crash(self) -> None:
        """Kill the process; return when the kubelet has noticed."""
        if self._process and self._exited and not self._exited.done():
            self._timeline.mark("SIGKILL", self.record.name, "crash")
            self._process.kill()
            await asyncio.wait((self._exited,))
            self.set_ready(False)

    # Called by the prober.

    def set_ready(self, ready: bool) -> None:
        if ready is (self.ready_since is not None):
            return
        self.ready_since = time.monotonic() if ready else None
        quiet = self.stopping.is_set()
        self._timeline.mark("ready" if ready else "unready", self.record.name, quiet=quiet)
        if endpoint := self._table.current.get(self.record.name):
            self._table.publish(replace(endpoint, serving=ready))
        self._changed()

    def probed_ready(self, began: float) -> None:
        if self._told_at is not None and began - self._told_at >= FLIP_SECONDS:
            self._told_at = None
            self._timeline.mark("still ready", self.record.name, quiet=True)

    def missed(self) -> None:
        self._timeline.mark("liveness failed", self.record.name, quiet=True)

    def fail(self, name: str, probe: Probe) -> None:
        if not self._failed.done():
            self._failed.set_result((name, probe))

    async def _run_once(self, container: Container) -> str:
        """Run the container to its end; return the reason for a restart."""
        self._failed = asyncio.get_running_loop().create_future()
        process = self._process = await container.start()
        exited = self._exited = asyncio.ensure_future(process.wait())
        self._timeline.mark("started", self.record.name, f"pid {process.pid}")
        async with asyncio.TaskGroup() as tasks:
            prober = Prober(container, self)
            probing = tasks.create_task(prober.run())
            why = await self._until_its_end(container, process, exited, prober)
            probing.cancel()
        self.record.exit_code = exited.result()
        self.set_ready(False)
        self._timeline.mark("exited", self.record.name, f"code {exited.result()}{self._after()}")
        self._changed()
        return why or f"it exited with {exited.result()}"

    async def _until_its_end(
        self,
        container: Container,
        process: Process,
        exited: "asyncio.Future[int]",
        prober: Prober,
    ) -> str:
        """Stop the container when it is deleted or a probe fails; return the failed probe."""
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait((exited, stopping, self._failed), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if exited.done():
            return ""
        why, grace = "", container.template.grace
        if self.stopping.is_set():
            prober.stop_all_but_readiness()
            grace = grace if self.record.grace is None else self.record.grace
        else:
            name, probe = self._failed.result()
            why, grace = f"its {name} probe failed", grace if probe.grace is None else probe.grace
            self._timeline.mark("probe failed", self.record.name, why)
        self._told_at = time.monotonic()
        await stop(container, process, exited, grace, self.record, self._timeline)
        self._told_at = None
        return why

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                return await self.stopping.wait()
        except TimeoutError:
            return False

    def _after(self) -> str:
        told = self._timeline.first("deleted", self.record.name)
        return "" if told is None else f", {self._timeline.now() - told:.1f} s after deletion"
