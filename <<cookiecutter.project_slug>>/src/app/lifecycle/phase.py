"""The one state machine: STARTING → READY → DRAINING → STOPPING → STOPPED.

Coroutines of any event loop and threads wait for a phase here, and ask how much time is left.
"""

import enum
import math
import threading
import time
from collections.abc import Callable
from functools import cached_property

import structlog

from app.lifecycle.event import Event

log = structlog.get_logger(__name__)

#: Seconds before SIGKILL at which the watchdog acts: enough to write the log.
MARGIN = 1.0
#: Seconds between SIGTERM and SIGKILL when the preStop hook used up the grace period:
#: ``minimumGracePeriodInSeconds`` in ``pkg/kubelet/kuberuntime``.
AFTER_HOOK = 2.0
#: Share of a shortened grace period in which streams and requests may end.
SHORTENED_SHARE = 0.25


class Phase(enum.IntEnum):
    """The phases in order; a service only moves forward."""

    STARTING = 0
    READY = 1
    DRAINING = 2
    STOPPING = 3
    STOPPED = 4

    @cached_property
    def label(self) -> str:
        """The name in logs, probes and reports."""
        return self.name.lower()


class Lifecycle:
    """Phase, reason and deadline of this process.

    All times are seconds: ``grace`` from the request to stop to SIGKILL
    (``terminationGracePeriodSeconds``), ``limit`` from there until a drain cuts off
    requests in flight; ``clock`` is monotonic.

    Thread-safe. Do not advance it from a Python signal handler, which may interrupt
    the main thread while that holds the lock (see ``signals``).
    """

    def __init__(
        self,
        grace: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        *,
        limit: float = math.inf,
        timeout: float = math.inf,
    ) -> None:
        self._clock = clock
        self.grace = grace
        self.limit = min(limit, grace)
        #: Seconds until the response of a request must have started, unless its route says
        #: otherwise.
        self.timeout = timeout
        self._lock = threading.Lock()
        self._reached = {phase: Event() for phase in Phase}
        self._reached[Phase.STARTING].set()
        self.entered: dict[Phase, float] = {Phase.STARTING: clock()}
        self.phase = Phase.STARTING
        self.reason = "process started"
        #: Why each phase was entered.
        self.reasons = {Phase.STARTING: self.reason}
        self.deadline = math.inf
        #: When requests in flight are cut off, on the clock.
        self.cut_at = math.inf
        #: When the watchdog acts, on the clock.
        self.watchdog_at = math.inf
        #: The real grace period in seconds, if it turned out to be shorter; else 0.
        self.found_grace = 0.0
        #: Whether a preStop hook asked for the stop and still waits for the answer.
        self.hook_pending = False
        #: Called by ``shorten``, from any thread.
        self.on_shortened: Callable[[], object] = lambda: None
        #: Whether a stop is under way (DRAINING or later).
        self.draining = False
        #: Set by the second signal and by ``shorten``: ends every wait of the stop.
        self.hurried = Event()
        #: Set by ``shorten``.
        self.shortened = Event()

    def remaining(self) -> float:
        """Seconds until the grace period ends; infinite while no stop is under way."""
        return max(0.0, self.deadline - self._clock())

    def until_cut(self) -> float:
        """Seconds until requests in flight are cut off; infinite while no stop is under way."""
        return max(0.0, self.cut_at - self._clock())

    def elapsed(self) -> float:
        """Seconds since the stop was requested; 0 while none is under way."""
        began = self.entered.get(Phase.DRAINING)
        return 0.0 if began is None else self._clock() - began

    def advance(self, phase: Phase, reason: str) -> bool:
        """Enter ``phase`` if it lies ahead; return whether it did.

        A later request for the same phase joins the first: its reason is not
        recorded. Phases can be skipped: a service that is stopped while it starts
        goes from STARTING to DRAINING.
        """
        with self._lock:
            if phase <= self.phase:
                return False
            previous, now = self.phase, self._clock()
            self.entered[phase], self.reasons[phase] = now, reason
            if phase >= Phase.DRAINING and math.isinf(self.deadline):
                self._end_in(self.grace)
                self.cut_at = now + self.limit
            if phase <= Phase.DRAINING:
                self.reason = reason
            self.phase = phase
            self.draining = phase >= Phase.DRAINING
        for passed in Phase:
            if passed <= phase:
                self._reached[passed].set()
        log.info(
            "phase",
            phase=phase.label,
            reason=reason,
            elapsed=round(now - self.entered[previous], 3),
        )
        return True

    def drain(self, reason: str) -> bool:
        """Request a stop. Safe to call repeatedly and from any thread."""
        return self.advance(Phase.DRAINING, reason)

    def signalled(self, reason: str) -> None:
        """Handle the first signal: a request to stop, or the end of a hook's time.

        The kubelet sends SIGTERM after the preStop hook. If a hook still waits for
        its answer, it was cut off by a grace period shorter than configured, or it
        failed: ``AFTER_HOOK`` seconds are left.
        """
        if self.draining and self.hook_pending:
            self.shorten(AFTER_HOOK, f"{reason} before the preStop hook returned")
        else:
            self.drain(reason)

    def shorten(self, seconds: float, reason: str) -> None:
        """Move the end of the stop to ``seconds`` from now, unless it is earlier already."""
        with self._lock:
            if not self.draining or self._clock() + seconds >= self.deadline:
                return
            self._end_in(seconds)
            self.cut_at = min(self.cut_at, self._clock() + seconds * SHORTENED_SHARE)
            self.found_grace = self.elapsed() + seconds
        self.on_shortened()
        self.shortened.set()
        log.warning(
            "grace period is shorter", found=round(self.found_grace, 1), expected=self.grace
        )
        self.hurry(reason)

    def hurry(self, reason: str) -> None:
        """End every wait of the stop; cut off what is not done."""
        if not self.hurried.is_set():
            log.warning("hurry", reason=reason)
            if not self.shortened.is_set():
                self.cut_at = min(self.cut_at, self._clock())
            self.hurried.set()

    def _end_in(self, seconds: float) -> None:
        self.deadline = self._clock() + seconds
        self.watchdog_at = self.deadline - min(MARGIN, seconds / 4)

    async def wait(self, phase: Phase) -> None:
        """Return once ``phase`` is reached or passed; from any event loop."""
        await self._reached[phase].wait()

    def wait_in_thread(self, phase: Phase, timeout: float | None = None) -> bool:
        """Block this thread until ``phase`` is reached; False after ``timeout`` seconds."""
        return self._reached[phase].wait_in_thread(timeout)
