"""Rounds of singleton work: none of their steps runs after the leadership ended."""

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

#: Seconds that a round gets to clean up if its time is already over.
CLEAN_UP = 0.5
#: Seconds after its end in which a step does not yet count as blocked.
GRACE = 0.05
#: Seconds for writing the log line about it.
LAST_LINE = 0.1

Clock = Callable[[], float]


class Term(Protocol):
    """The time in which this pod leads, on the monotonic clock."""

    @property
    def end(self) -> float:
        """When another pod may lead; -inf while this one does not."""

    def look(self) -> None:
        """End all rounds if the time is over."""


class Round:
    """One round of singleton work that checks the clock before every step.

    Cancelling a task is not enough: a process that was paused, or whose event loop was
    blocked, would first run the steps that are due. So the steps between two ``await``
    are driven here. Tasks and threads that the work starts must check
    ``Leadership.leads`` themselves.
    """

    def __init__(
        self, name: str, work: Coroutine[Any, Any, object], term: Term, guard: "Guard", clock: Clock
    ) -> None:
        self.name = name
        #: Why it must end; empty while it may continue.
        self.reason = ""
        #: Whether it did not end in time and was abandoned.
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
        """When none of its steps may run any more."""
        return self._until if self.reason else self._term.end

    def end(self, reason: str, until: float) -> None:
        """Cancel it; no step runs after ``until``. Only the first call counts."""
        if self.reason:
            return
        self.reason, self._until = reason, until
        self._timer = asyncio.get_running_loop().call_later(until - self._clock(), self._abandon)
        self._guard.look_again()
        if not self._looking:  # called between two of its steps
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
            if self._must_end():
                error = error or asyncio.CancelledError(self.reason)
            if self.abandoned or self._clock() >= self._until:
                self.abandoned = True
                with contextlib.suppress(RuntimeError):  # it does not respond
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

    def _must_end(self) -> bool:
        if self.reason:
            return False
        self._looking = True
        self._term.look()
        self._looking = False
        return bool(self.reason)


class Guard:
    """Ends the process when a step of a round runs beyond its time.

    Such a step blocks the event loop, so nothing there can end the round, while another
    pod is about to start the same work. A daemon thread sleeps until a round's end.
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
        """The end of a round has moved closer."""
        self._changed.set()

    def remove(self, round_: Round) -> None:
        self._rounds = tuple(one for one in self._rounds if one is not round_)

    @contextlib.contextmanager
    def step_of(self, round_: Round) -> Iterator[None]:
        """The main thread runs a step of ``round_``."""
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
            "singleton blocks the event loop beyond its time; ending the process",
            task=name,
            where=stacks([threading.main_thread()]).get("MainThread"),
        )
        STDOUT.flush(LAST_LINE)
        os._exit(Exit.CUT)


class Step:
    """One step of a round, from one ``await`` to the next."""

    def __init__(self, round_: Round) -> None:
        self.round = round_
