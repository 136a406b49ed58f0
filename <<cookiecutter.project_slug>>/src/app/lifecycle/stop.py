"""The order of a stop, from the request for it to the exit code."""

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from app.lifecycle.checks import Checks
from app.lifecycle.components import Components
from app.lifecycle.drain import DrainPolicy, Rotation, drain
from app.lifecycle.exits import Exit
from app.lifecycle.gauge import TrafficGauge
from app.lifecycle.identity import Cluster, Identity
from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.report import Journal, Report, seconds_per_phase
from app.lifecycle.server import HttpServer
from app.lifecycle.streams import FAREWELL, end_streams
from app.lifecycle.tasks import Tasks
from app.lifecycle.traffic import Traffic
from app.lifecycle.watchdog import busy_threads, stacks, where_is

if TYPE_CHECKING:
    from app.lifecycle.rotation import RotationWatch

log = structlog.get_logger(__name__)

#: Seconds that cancelled handlers get to clean up.
CLEAN_UP = 1.0
#: Seconds after a look at a quiet service in which bytes that have already arrived are read.
LAST_LOOK = 0.01


@dataclass(frozen=True, slots=True)
class Times:
    """Budgets of a stop, in seconds; the settings say what each protects."""

    floor: float
    slack: float
    quiet: float
    limit: float
    fallback: float
    stream_spread: float
    stop: float
    grace: float

    def longest(self) -> float:
        """How long a stop may take, with the goodbyes of the last streams."""
        return self.limit + self.stream_spread + 2 * FAREWELL + self.stop


@dataclass(slots=True)
class Stop:
    """Drains and stops the parts of a service."""

    times: Times
    lifecycle: Lifecycle
    journal: Journal
    traffic: Traffic
    server: HttpServer
    checks: Checks
    tasks: Tasks
    components: Components
    identity: Identity
    cluster: Cluster
    _connections_before: int = 0
    _decided_by: str = ""
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    async def drain(self) -> None:
        """DRAINING: serve what still comes until nobody sends any more."""
        times, lifecycle = self.times, self.lifecycle
        self._connections_before = self.server.connections.accepted
        self.journal.note(f"draining: {lifecycle.reason}; not ready, still serving")
        policy = DrainPolicy(times.floor, times.slack, times.quiet, times.limit, times.fallback)
        gauge, began = TrafficGauge(self.traffic, self.server), lifecycle.entered[Phase.DRAINING]
        watch = self._watch_endpoint(gauge)
        endings: list[asyncio.Task[None]] = []

        def arrivals_over(decided_by: str) -> None:
            streams = self.traffic.streams()
            if not endings:
                text = f"arrivals are over ({decided_by}); {len(streams)} streams to end"
                self.journal.note(text, decided_by=decided_by)
                self._decided_by = decided_by
            elif not endings[-1].done() or not streams:
                return
            end = end_streams(self.traffic, spread=times.stream_spread, hurried=lifecycle.hurried)
            endings.append(asyncio.create_task(end))

        while True:
            cut_short = await drain(
                policy,
                gauge,
                began=began,
                hurried=lifecycle.hurried,
                arrivals_over=arrivals_over,
            )
            await asyncio.wait(endings)
            await asyncio.sleep(LAST_LOOK)
            # While the streams ended somebody may have come who had not heard of the stop.
            verdict = policy.decide(time.monotonic(), gauge.evidence(began))
            fresh = any(not stream.ended for stream in self.traffic.streams())
            if cut_short or (verdict.stop_listening and not fresh):
                break
        if watch is not None:
            watch.end()
        left = [exchange.name for exchange in self.traffic.exchanges]
        self.journal.cut.extend(left)
        self.journal.note(f"cut off: {', '.join(left)}" if left else "drained")

    def _watch_endpoint(self, gauge: TrafficGauge) -> "RotationWatch | None":
        """Find out where this pod's endpoint stands, if there is somewhere to ask."""
        if not self.cluster.services:
            if self.times.fallback:
                rule = f"the fallback of {self.times.fallback:g} s takes its place"
                self.journal.note(f"the endpoint is not watched: no Service is named; {rule}")
            return None
        # Only now: a service that does not stop has no use for it.
        from app.lifecycle.rotation import RotationWatch

        def take(rotation: Rotation, sentence: str) -> None:
            gauge.set_rotation(rotation)
            if sentence:
                self.journal.note(sentence)

        def tell(rotation: Rotation, sentence: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens
                self._loop.call_soon_threadsafe(take, rotation, sentence)

        watch = RotationWatch(self.identity, self.cluster, tell, fallback=self.times.fallback)
        gauge.set_rotation(watch.rotation)
        watch.start()
        return watch

    async def stop(self) -> None:
        """STOPPING: close the listener, then all else in order, each within its budget."""
        lifecycle = self.lifecycle
        lifecycle.advance(Phase.STOPPING, lifecycle.reason)
        deadline = time.monotonic() + self.times.stop
        self.checks.stop()

        self.server.close_listener()
        stuck = await self.traffic.cut(lifecycle.reason, CLEAN_UP)
        if unsent := await self.server.close_connections():
            self.journal.cut.append(f"{unsent} answers not sent to the end")
        self.journal.note("listener and connections closed")

        stuck_tasks = await self.tasks.stop(self.times.stop / 2)
        self.journal.cut.extend(f"task {name}" for name in self.tasks.cut)
        self.journal.note("tasks ended")

        if not await self.server.end_lifespan(
            max(0.0, deadline - time.monotonic()), lifecycle.hurried
        ):
            self.journal.cut.append("the application's lifespan")
        await self.components.stop(max(0.0, deadline - time.monotonic()), lifecycle.hurried)
        self.journal.cut.extend(f"component {name}" for name in self.components.failed)
        self.journal.note("components closed")

        deaf = await self._end_strays()
        self.journal.cut.extend(f"task {task.get_name()}" for task in deaf)
        for task in {*deaf, *stuck_tasks, *(e.task for e in stuck if e.task is not None)}:
            log.error("task ignored its cancellation", task=task.get_name(), where=where_is(task))
        for name, where in stacks(busy_threads()).items():
            self.journal.cut.append(f"thread {name} in {where[-1]}")
            log.error("thread does not end", thread=name, where=where)

    async def _end_strays(self) -> set["asyncio.Task[Any]"]:
        """Cancel tasks that nobody registered; return those that ignore it."""
        strays = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        for task in strays:
            task.cancel(self.lifecycle.reason)
        if strays:
            await asyncio.wait(strays, timeout=CLEAN_UP)
        return {task for task in strays if not task.done()}

    def report(self) -> Report:
        """What the stop did so far."""
        accepted = self.server.connections.accepted - self._connections_before
        return Report(
            reason=self.lifecycle.reason,
            decided_by=self._decided_by,
            exit_code=Exit.CUT if self.journal.cut else Exit.CLEAN,
            seconds=seconds_per_phase(self.lifecycle.entered, time.monotonic()),
            components=dict(self.components.seconds),
            requests_served=self.traffic.requests_served,
            connections_served=accepted,
            streams_ended=self.traffic.streams_ended,
            tasks_finished=self.tasks.finished,
            tasks_cut=list(self.tasks.cut),
            requests_cut=list(self.traffic.requests_cut),
            cut=list(self.journal.cut),
        )

    def last_words(self) -> None:
        """Say what was stuck when the grace period ran out; called by the watchdog."""
        main = threading.main_thread()
        for name, where in stacks([main, *busy_threads()]).items():
            log.error("stuck at the end of the grace period", thread=name, where=where)
        with contextlib.suppress(RuntimeError):  # the set of tasks changed under us
            for task in asyncio.all_tasks(self._loop):
                log.error(
                    "unfinished at the end of the grace period",
                    task=task.get_name(),
                    where=where_is(task),
                )
        self.journal.cut.append("the stop itself: the grace period is over")
        self.report().write(self.identity.fields())
