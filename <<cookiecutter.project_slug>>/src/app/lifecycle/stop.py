"""The order of a stop, from the request to the exit code."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from app.lifecycle.budget import AT_LEAST, SHARES, Budget, clean_up
from app.lifecycle.checks import Checks
from app.lifecycle.children import children, end_children, kill_children
from app.lifecycle.components import Components
from app.lifecycle.drain import DrainPolicy, Rotation, drain
from app.lifecycle.exits import Exit
from app.lifecycle.http.server import FLUSH, HttpServer
from app.lifecycle.http.streams import end_streams
from app.lifecycle.http.traffic import Traffic, TrafficGauge
from app.lifecycle.kubernetes.identity import Cluster, Identity
from app.lifecycle.phase import SHORTENED_SHARE, Lifecycle, Phase
from app.lifecycle.report import Journal, Report, seconds_per_phase, time_to_write
from app.lifecycle.stuck import Stuck
from app.lifecycle.tasks import Tasks
from app.lifecycle.times import Times
from app.lifecycle.watchdog import busy_threads

if TYPE_CHECKING:
    from app.lifecycle.kubernetes.rotation import RotationWatch

log = structlog.get_logger(__name__)

#: Seconds that cancelled handlers get to clean up.
CLEAN_UP = 1.0
#: Share of the stop's time for requests in which they may finish once the listener is closed.
FINISH_SHARE = 1 / 3
#: Share of that time after which idle connections are closed.
IDLE_SHARE = 0.5
#: Seconds that the event loop gets to read bytes that have already arrived.
SETTLE = 0.01


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
    stuck: Stuck
    identity: Identity
    cluster: Cluster
    budget: Budget | None = None  # of STOPPING
    _connections_before: int = 0
    _decided_by: str = ""
    #: Seconds of the stop's time that requests have already used.
    _used: float = 0.0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    async def drain(self) -> None:
        """DRAINING: serve requests until no more arrive."""
        times, lifecycle = self.times, self.lifecycle
        self._connections_before = self.server.connections.accepted
        self.journal.note(f"draining: {lifecycle.reason}; not ready, still serving")
        policy = DrainPolicy(times.floor, times.slack, times.quiet, times.limit, times.fallback)
        gauge, began = TrafficGauge(self.traffic, self.server), lifecycle.entered[Phase.DRAINING]
        watch = self._watch_endpoint(gauge)
        endings: list[asyncio.Task[None]] = []

        def end_open_streams(decided_by: str) -> None:
            streams = self.traffic.open_streams
            if not endings:
                text = f"no new requests expected ({decided_by}); ending {len(streams)} streams"
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
                on_traffic_over=end_open_streams,
            )
            if cut_short and not lifecycle.hurried.is_set():
                await self._finish_in_flight(
                    gauge, self.server.close_listener(), "the limit is reached"
                )
            await lifecycle.shortened.or_done(endings)
            if lifecycle.shortened.is_set():
                await self._end_early(endings)
                break
            await asyncio.sleep(SETTLE)
            # While the streams ended, a late client may have connected.
            evidence = gauge.evidence(began)
            verdict = policy.decide(time.monotonic(), evidence)
            fresh = any(not stream.ended for stream in self.traffic.open_streams)
            if cut_short or (verdict.stop_listening and not (fresh or evidence.in_flight)):
                break
        if not cut_short and (late := self.server.close_listener()):
            await self._finish_in_flight(gauge, late, "connections arrived at the last moment")
        if watch is not None:
            watch.end()
        left = [*self.traffic.requests_cut, *(e.name for e in self.traffic.exchanges)]
        self.journal.cut.extend(left)
        self.journal.note(f"cut off: {', '.join(left)}" if left else "drained")

    async def _end_early(self, endings: list["asyncio.Task[None]"]) -> None:
        """Serve for a share of a shortened grace period, then end all streams at once."""
        found = self.lifecycle.found_grace
        self.journal.note(f"the grace period is {found:.1f} s, not {self.times.grace:g} s")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.lifecycle.remaining() * SHORTENED_SHARE):
                await asyncio.Event().wait()
        for ending in endings:
            ending.cancel()
        unended = [stream.end() for stream in self.traffic.open_streams if not stream.ended]
        if unended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(clean_up(0)):
                    await asyncio.gather(*unended)

    async def _finish_in_flight(self, gauge: TrafficGauge, late: int, why: str) -> None:
        """Let requests in flight finish after the listener is closed.

        This takes a share of the stop's own time. The ``late`` connections, accepted when
        the listener closed, may still send their request. Later requests on open
        connections get 503; idle connections are closed halfway through.
        """
        times = self.times
        moment = (times.stop - times.reserved) * SHARES["requests"] * FINISH_SHARE
        began = time.monotonic()
#% if cookiecutter.tls == "yes"
        await self.server.finish_handshakes()
#% endif
        if late:
            await asyncio.sleep(SETTLE)
        self.traffic.refuse()
        self.journal.note(f"{why}: requests in flight may finish within {moment:.1f} s")
        for part in (IDLE_SHARE, 1.0):
            end = began + moment * part
            # Requests that are already on their way are always served.
            while (now := time.monotonic()) < min(end, began + AT_LEAST) or (
                now < end and gauge.evidence(began).in_flight
            ):
                await gauge.changed(min(end - now, AT_LEAST), idle=True)
                if self.lifecycle.hurried.is_set():
                    break
            self.server.close_idle()
        self._used = time.monotonic() - began

    def _watch_endpoint(self, gauge: TrafficGauge) -> "RotationWatch | None":
        """Watch this pod's endpoint, if a Service is named."""
        if not self.cluster.services:
            if self.times.fallback:
                rule = f"using the fallback of {self.times.fallback:g} s"
                self.journal.note(f"endpoint not watched because no Service is named; {rule}")
            return None
        # Imported late: only a stop needs it.
        from app.lifecycle.kubernetes.rotation import RotationWatch

        def take(rotation: Rotation, sentence: str) -> None:
            gauge.set_rotation(rotation)
            if sentence:
                self.journal.note(sentence)

        def tell(rotation: Rotation, sentence: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(take, rotation, sentence)

        watch = RotationWatch(self.identity, self.cluster, tell, fallback=self.times.fallback)
        gauge.set_rotation(watch.rotation)
        watch.start()
        return watch

    async def stop(self) -> None:
        """STOPPING: close the listener, then the rest in order, each within its budget."""
        lifecycle = self.lifecycle
        lifecycle.advance(Phase.STOPPING, lifecycle.reason)
        times, stuck = self.times, self.stuck
        budget = Budget(lifecycle, times.stop - self._used, reserved=times.reserved)
        self.budget = budget
        self.checks.stop()

        self.server.close_listener()
        self.traffic.refuse()
        if self.traffic.exchanges:
            stuck.log("drain", "requests", "threads", "holdings")
        with budget.step("requests") as seconds:
            patience = min(CLEAN_UP, max(AT_LEAST, seconds - FLUSH))
            deaf = await self.traffic.cut(lifecycle.reason, patience)
            flush = min(FLUSH, max(AT_LEAST, seconds - patience))
            if unsent := await self.server.close_connections(flush):
                self.journal.cut.append(f"{unsent} responses not fully sent")
        self.journal.note("listener and connections closed")

        with budget.step("tasks") as seconds:
            deaf_tasks = await self.tasks.stop(
                seconds, lambda: stuck.log("tasks", "tasks", "threads", "holdings")
            )
        self.journal.cut.extend(f"task {name}" for name in self.tasks.cut)
        self.journal.note("tasks ended")

        with budget.step("lifespan") as seconds:
            if not await self.server.end_lifespan(
                seconds, lifecycle.hurried, lambda: stuck.log("lifespan", "others", "threads")
            ):
                self.journal.cut.append("the application's lifespan")
        self.components.on_late = lambda name: stuck.log(
            f"component {name}", "components", "holdings", "threads"
        )
        with budget.step("components") as seconds:
            await self.components.stop(seconds, lifecycle.hurried)
        self.journal.cut.extend(f"component {name}" for name in self.components.failed)
        self.journal.note("components closed")

        with budget.step("leftovers") as seconds:
            unresponsive = await self._end_strays(seconds)
            await self._end_processes(budget.left("leftovers"))
        self.journal.cut.extend(f"task {task.get_name()}" for task in unresponsive)
        for step, how in budget.overran().items():
            log.warning("step exceeded its share", step=step, took=how)
        deaf_requests = (exchange.task for exchange in deaf)
        stuck.log_unresponsive({*unresponsive, *deaf_tasks, *deaf_requests})
        for thread in stuck.log("stop", "threads"):
            self.journal.cut.append(f"thread {thread.name} in {(*thread.where, '?')[-1]}")

    async def _end_strays(self, seconds: float) -> set["asyncio.Task[Any]"]:
        """Cancel all other tasks; return those that do not respond."""
        strays = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
        for task in strays:
            task.cancel(self.lifecycle.reason)
        if strays:
            await asyncio.wait(strays, timeout=clean_up(seconds * 4))
        return {task for task in strays if not task.done()}

    async def _end_processes(self, seconds: float) -> None:
        """End the processes below this one that are still running."""
        ended, killed = await end_children(clean_up(seconds * 4))
        self.journal.cut.extend(f"process {child}" for child in killed)
        if ended or killed:
            names = {"ended": [str(child) for child in ended], "killed": [str(c) for c in killed]}
            log.warning("processes ended with the service", **names)
            # The thread of a process pool ends once it sees that its workers are gone.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AT_LEAST):
                    while busy_threads():  # noqa: ASYNC110 (a thread does not signal its end)
                        await asyncio.sleep(SETTLE)

    def report(self) -> Report:
        """Return what the stop did so far."""
        accepted = self.server.connections.accepted - self._connections_before
        return Report(
            reason=self.lifecycle.reason,
            decided_by=self._decided_by,
            exit_code=Exit.CUT if self.journal.cut else Exit.CLEAN,
            seconds=seconds_per_phase(self.lifecycle.entered, time.monotonic()),
            components=dict(self.components.seconds),
            requests_served=self.traffic.requests_served,
            connections_served=accepted,
            requests_refused=self.traffic.requests_refused,
            streams_ended=self.traffic.streams_ended,
            tasks_finished=self.tasks.finished,
            tasks_cut=list(self.tasks.cut),
            requests_cut=list(self.traffic.requests_cut),
            overran=self.budget.overran() if self.budget else {},
            found_grace=round(self.lifecycle.found_grace, 1),
            cut=list(self.journal.cut),
        )

    def report_overrun(self) -> None:
        """Log what was stuck when the grace period ran out; the watchdog calls it."""
        self.stuck.log("grace period")
        self.journal.cut.extend(f"process {child}" for child in children())
        kill_children()
        self.journal.cut.append("the stop itself: the grace period ran out")
        self.report().write(self.identity.fields(), time_to_write(self.lifecycle))
