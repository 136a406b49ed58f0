"""Work that must not run in two pods at once: held to its time, whatever it does."""

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from typing import Any, Protocol

import structlog

from app.lifecycle.exits import Exit
from app.lifecycle.watchdog import stacks
from app.observability.pipe import STDOUT

log = structlog.get_logger(__name__)

#: Seconds that a round gets to clean up where its time is over already.
CLEAN_UP = 0.5
#: Seconds for which a step must go on after its time before it counts as blocked.
GRACE = 0.05
#: Seconds that the line which says so may take to be written.
LAST_LINE = 0.1

Clock = Callable[[], float]


class Term(Protocol):
    """The time in which this pod leads; seconds on the monotonic clock."""

    @property
    def end(self) -> float:
        """From when another pod may lead; -inf while this one does not."""

    def look(self) -> None:
        """Tell all rounds to end if the clock says so."""


class Round:
    """One round of singleton work, every step of which asks the clock first.

    Cancelling a task is not enough: a process that was stopped, or whose event
    loop was blocked, would do what was due in the meantime before it heard of the
    cancellation. So the steps between two ``await`` are made here, by hand. What
    the work starts itself (tasks, threads) is out of reach: see ``Leadership.leads``.
    """

    def __init__(
        self, name: str, work: Coroutine[Any, Any, object], term: Term, guard: "Guard", clock: Clock
    ) -> None:
        self.name = name
        #: Why it was told to end; empty while it may go on.
        self.reason = ""
        #: Whether it did not end when told, and was left where it stood.
        self.abandoned = False
        self._work = work
        self._term = term
        self._guard = guard
        self._clock = clock
        self._until = math.inf
        self._looking = False
        self._timer: asyncio.TimerHandle | None = None
        self.task = asyncio.get_running_loop().create_task(self._live(), name=name)
        self.task.add_done_callback(self._forget)
        guard.add(self)

    @property
    def until(self) -> float:
        """From when no step of it may be under way."""
        return self._until if self.reason else self._term.end

    def tell(self, reason: str, until: float) -> None:
        """Cancel it; no step is made after ``until``. Only the first call counts."""
        if self.reason:
            return
        self.reason, self._until = reason, until
        self._timer = asyncio.get_running_loop().call_later(until - self._clock(), self._abandon)
        self._guard.look_again()
        if not self._looking:  # it is told between two of its steps, and not before one
            self.task.cancel(reason)

    def _abandon(self) -> None:
        left = self._until - self._clock()
        if left > 0:  # timers may be early
            self._timer = asyncio.get_running_loop().call_later(left, self._abandon)
            return
        self.abandoned = True
        self.task.cancel(self.reason)

    def _forget(self, _task: "asyncio.Task[None]") -> None:
        self._guard.remove(self)
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(RuntimeError):
            self._work.close()  # in case it was cancelled before its first step

    async def _live(self) -> None:
        await self

    def __await__(self) -> Generator[Any, None, None]:
        error: BaseException | None = None
        while True:
            if self._is_told_now():
                error = error or asyncio.CancelledError(self.reason)
            if self.abandoned or self._clock() >= self._until:
                self.abandoned = True
                with contextlib.suppress(RuntimeError):  # it ignores even this
                    self._work.close()
                raise asyncio.CancelledError(self.reason)
            try:
                with self._guard.step_of(self):
                    awaited = self._work.send(None) if error is None else self._work.throw(error)
            except StopIteration:
                return
            error = None
            try:
                yield awaited
            except BaseException as raised:
                error = raised

    def _is_told_now(self) -> bool:
        if self.reason:
            return False
        self._looking = True
        self._term.look()
        self._looking = False
        return bool(self.reason)


class Guard:
    """Ends the process when a step of a round goes on after its time.

    Such a step blocks the event loop, so that nothing in it could end the round,
    and another pod is about to begin the same work. A daemon thread looks on; it
    sleeps until the time of a round is over.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._rounds: tuple[Round, ...] = ()
        self._step: Step | None = None
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, round_: Round) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_on, name="guard", daemon=True)
            self._thread.start()
        self._rounds = (*self._rounds, round_)
        self._changed.set()

    def look_again(self) -> None:
        """A round has less time than before."""
        self._changed.set()

    def remove(self, round_: Round) -> None:
        self._rounds = tuple(one for one in self._rounds if one is not round_)

    @contextlib.contextmanager
    def step_of(self, round_: Round) -> Iterator[None]:
        """The main thread makes a step of ``round_``."""
        self._step = Step(round_)
        try:
            yield
        finally:
            self._step = None

    def _look_on(self) -> None:
        while True:
            self._changed.clear()
            left = min((one.until for one in self._rounds), default=math.inf) - self._clock()
            if left > 0:
                self._changed.wait(None if math.isinf(left) else left)
                continue
            step = self._step
            time.sleep(GRACE)
            late = step is not None and self._step is step and step.round.until <= self._clock()
            if step is not None and late:
                self._end_the_process(step.round.name)

    def _end_the_process(self, name: str) -> None:
        log.error(
            "a singleton blocks the event loop beyond its time; the process ends",
            task=name,
            where=stacks([threading.main_thread()]).get("MainThread"),
        )
        STDOUT.flush(LAST_LINE)
        os._exit(Exit.CUT)


class Step:
    """One step of a round, from one ``await`` to the next."""

    def __init__(self, round_: Round) -> None:
        self.round = round_
