"""The one state machine: STARTING → READY → DRAINING → STOPPING → STOPPED.

Everything that must know about a stop reads it here: coroutines of any event
loop, threads, and code that only wants to know how much time is left.
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

#: Seconds before the end of the grace period at which the watchdog acts. SIGKILL
#: leaves no time to say anything; one second is enough to write the log.
MARGIN = 1.0
#: Seconds between SIGTERM and SIGKILL when the preStop hook has used up the grace
#: period: ``minimumGracePeriodInSeconds`` of ``pkg/kubelet/kuberuntime``.
AFTER_HOOK = 2.0

#: Part of a grace period found to be shorter in which streams and requests may end.
LAST_CHANCE = 0.25


class Phase(enum.IntEnum):
    """Phases in the order of a life; a service only ever moves forward."""

    STARTING = 0
    READY = 1
    DRAINING = 2
    STOPPING = 3
    STOPPED = 4

    @cached_property
    def label(self) -> str:
        """The name as it stands in logs, probes and reports."""
        return self.name.lower()


class Lifecycle:
    """Phase, reason and deadline of this process.

    ``grace`` is the number of seconds the platform gives between the request to
    stop and SIGKILL (``terminationGracePeriodSeconds``), ``limit`` that after which
    a drain cuts off what is in flight. ``clock`` is monotonic, in seconds.

    Thread-safe. Do not call the methods that advance it from a Python signal
    handler: it runs between two bytecodes of the main thread, which may hold the
    lock (see ``signals``).
    """

    def __init__(
        self,
        grace: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        *,
        limit: float = math.inf,
    ) -> None:
        self._clock = clock
        self._grace = grace
        self._limit = min(limit, grace)
        self._lock = threading.Lock()
        self._reached = {phase: Event() for phase in Phase}
        self._reached[Phase.STARTING].set()
        self.entered: dict[Phase, float] = {Phase.STARTING: clock()}
        self.phase = Phase.STARTING
        self.reason = "process started"
        self.deadline = math.inf
        #: When requests in flight are cut off.
        self.cut_at = math.inf
        #: When the watchdog acts.
        self.last_call = math.inf
        #: The grace period in seconds that was found to be shorter; 0 if none was.
        self.found_grace = 0.0
        #: Whether a preStop hook has asked for the stop and has not had its answer.
        self.hook_waits = False
        #: Called by ``shorten``, from whatever thread that is.
        self.on_shortened: Callable[[], object] = lambda: None
        #: Whether a stop is under way (DRAINING or later).
        self.draining = False
        #: Set by the second signal, and by ``shorten``: every wait of the stop ends now.
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
        """Seconds since the stop was asked for; 0 while none is under way."""
        began = self.entered.get(Phase.DRAINING)
        return 0.0 if began is None else self._clock() - began

    def advance(self, phase: Phase, reason: str) -> bool:
        """Enter ``phase`` if it lies ahead; say whether that changed anything.

        A later request for the same phase joins the one under way: its reason is
        not recorded. Phases between are entered on the way by nobody: a service
        told to stop while it starts goes from STARTING to DRAINING.
        """
        with self._lock:
            if phase <= self.phase:
                return False
            previous, now = self.phase, self._clock()
            self.entered[phase] = now
            if phase >= Phase.DRAINING and math.isinf(self.deadline):
                self._end_in(self._grace)
                self.cut_at = now + self._limit
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
        """Ask for a stop. Safe to call any number of times, from any thread."""
        return self.advance(Phase.DRAINING, reason)

    def signalled(self, reason: str) -> None:
        """The first signal: a request to stop, or the end of a hook's time.

        The kubelet sends SIGTERM when the preStop hook has returned. While one still
        waits for its answer, the hook was cut off, by a grace period shorter than
        the service knows of, or broke: what is left is ``AFTER_HOOK`` seconds.
        """
        if self.draining and self.hook_waits:
            self.shorten(AFTER_HOOK, f"{reason} before the preStop hook had its answer")
        else:
            self.drain(reason)

    def shorten(self, seconds: float, reason: str) -> None:
        """End the stop under way ``seconds`` from now, unless it ends earlier anyway."""
        with self._lock:
            if not self.draining or self._clock() + seconds >= self.deadline:
                return
            self._end_in(seconds)
            self.cut_at = min(self.cut_at, self._clock() + seconds * LAST_CHANCE)
            self.found_grace = self.elapsed() + seconds
        self.on_shortened()
        self.shortened.set()
        log.warning(
            "grace period is shorter", found=round(self.found_grace, 1), expected=self._grace
        )
        self.hurry(reason)

    def hurry(self, reason: str) -> None:
        """End every wait of the stop under way; what is not done then is cut."""
        if not self.hurried.is_set():
            log.warning("hurry", reason=reason)
            if not self.shortened.is_set():
                self.cut_at = min(self.cut_at, self._clock())
            self.hurried.set()

    def _end_in(self, seconds: float) -> None:
        self.deadline = self._clock() + seconds
        self.last_call = self.deadline - min(MARGIN, seconds / 4)

    async def wait(self, phase: Phase) -> None:
        """Return once ``phase`` has been reached or passed; from any event loop."""
        await self._reached[phase].wait()

    def wait_in_thread(self, phase: Phase, timeout: float | None = None) -> bool:
        """Block this thread until ``phase`` is reached; False after ``timeout`` seconds."""
        return self._reached[phase].wait_in_thread(timeout)
