"""Names what is in the way: requests, tasks, threads, components, and what components hold.

Logged when a budget of a stop is over, and on SIGUSR1 at any time.
"""

import asyncio
import heapq
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol, runtime_checkable

import structlog

from app.lifecycle.components import Components
from app.lifecycle.http.exchange import Exchange
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.tasks import Tasks
from app.lifecycle.watchdog import ANYIO, busy_threads, is_idle, stack_of, stacks
from app.observability.logging import current_request

log = structlog.get_logger(__name__)

#: How many of each kind are named.
MOST = 50
#: Seconds that all components together get to say what they hold.
PATIENCE = 0.2
#: The field of proc_pid_stat(5) behind the name of a thread that says when it began.
STARTED = 19
#: Where the threads of the service itself run.
OWN = tuple(str(Path(__file__).parents[1] / part) for part in ("lifecycle", "observability"))

Kind = Literal["requests", "tasks", "components", "holdings", "threads", "all threads", "others"]
EVERYTHING: tuple[Kind, ...] = (
    "all threads",
    "requests",
    "tasks",
    "components",
    "holdings",
    "others",
)


@dataclass(frozen=True, slots=True)
class Held:
    """Something that has not ended: a request, task, thread, component, connection, and so on.

    It is ``seconds`` old; nan: unknown. ``where`` is its stack, innermost line last.
    """

    kind: str
    name: str
    seconds: float
    where: list[str]

    @property
    def age(self) -> float | None:
        """``seconds`` for logs and JSON."""
        return round(self.seconds, 3) if math.isfinite(self.seconds) else None


@runtime_checkable
class Holder(Protocol):
    """The value of a component that can say what its users hold, such as connections.

    ``held`` is called from any thread, also while the event loop is blocked: it must neither
    wait nor take a lock that is held for long.
    """

    def held(self) -> Iterable[Held]: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What was found ``at`` the end of a budget or a signal; ``when`` is a Unix time."""

    at: str
    when: float
    held: list[Held]


class Stuck:
    """Looks at the parts of the service; from any thread, and only when asked."""

    def __init__(self, traffic: Traffic, tasks: Tasks, components: Components) -> None:
        self._traffic = traffic
        self._tasks = tasks
        self._components = components
        #: The event loop of the service, once it runs.
        self.loop: asyncio.AbstractEventLoop | None = None
        #: What was found last.
        self.last: Found | None = None
        self._sources: dict[Kind, Callable[[], Iterable[Held]]] = {
            "requests": self._requests,
            "tasks": self._at_work,
            "components": self._changing,
            "holdings": self._holdings,
            "threads": lambda: map(_thread, busy_threads()),
            "all threads": lambda: map(_thread, _all_threads()),
            "others": self._others,
        }
        self._lock = threading.Lock()
        self._asked = 0

    def log(self, at: str, *kinds: Kind) -> list[Held]:
        """Log what has not ended at the end of a budget, which ``at`` names; return it."""
        found = self._find(kinds or EVERYTHING)
        if found:
            self.last = Found(at, time.time(), found)
        for one in found:
            log.error(
                "still running",
                at=at,
                kind=one.kind,
                name=one.name,
                seconds=one.age,
                where=one.where,
            )
        return found

    def log_unresponsive(self, tasks: Iterable["asyncio.Task[Any]"]) -> None:
        """Log the ``tasks`` that were cancelled and still run."""
        for task in tasks:
            log.error(
                "task did not respond to cancellation", task=task.get_name(), where=stack_of(task)
            )

    def ask(self) -> None:
        """Log all that runs now, for SIGUSR1; returns at once.

        A thread of its own does it: whatever hangs, signals must still be heard. If it is
        asked again meanwhile, it begins once more.
        """
        with self._lock:
            self._asked += 1
            if self._asked > 1:
                return
        try:
            threading.Thread(target=self._answer, name="stuck", daemon=True).start()
        except RuntimeError:  # there can be no more threads: this one must do
            self._answer()

    def _answer(self) -> None:
        while True:
            asked = self._asked
            found = self._find(EVERYTHING)
            self.last = Found("SIGUSR1", time.time(), found)
            for one in found:
                log.info(
                    "still running",
                    at="SIGUSR1",
                    kind=one.kind,
                    name=one.name,
                    seconds=one.age,
                    where=one.where,
                )
            log.info("listed what is running", at="SIGUSR1", count=len(found))
            with self._lock:
                self._asked -= asked
                if not self._asked:
                    return

    def _find(self, kinds: Iterable[Kind]) -> list[Held]:
        found: list[Held] = []
        for kind in kinds:
            try:
                found += islice(self._sources[kind](), MOST)
            except Exception:
                log.exception("cannot list what is running", kind=kind)
        return found

    def _requests(self) -> Iterator[Held]:
        """The oldest ones."""
        now, found = time.monotonic(), list(self._traffic.exchanges)
        for one in heapq.nsmallest(MOST, found, key=lambda one: one.began):
            yield Held("request", one.name, now - one.began, stack_of(one.task))

    def _at_work(self) -> Iterator[Held]:
        for task, seconds in self._tasks.at_work():
            if seconds is not None:
                yield Held("task", task.get_name(), seconds, stack_of(task))

    def _changing(self) -> Iterator[Held]:
        for name, seconds, task in self._components.at_work():
            if seconds is not None:
                yield Held("component", name, seconds, stack_of(task))

    def _holdings(self) -> list[Held]:
        """What components hold, asked in a thread: one that hangs must not keep the others."""
        holders = [one for one in self._components.opened() if isinstance(one[1], Holder)]
        if not holders:
            return []
        found: list[Held] = []
        asked: list[str] = []

        def ask() -> None:
            for name, value in holders:
                asked.append(name)
                try:
                    found.extend(islice(value.held(), MOST))
                except Exception as error:
                    log.warning(
                        "component does not say what it holds", component=name, error=repr(error)
                    )

        thread = threading.Thread(target=ask, name="ask what is held", daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if thread.is_alive():
            late = _thread(thread)
            found.append(Held("component", f"{asked[-1]}.held()", late.seconds, late.where))
        return list(found)

    def _others(self) -> Iterator[Held]:
        """Tasks of which the service knows no more than their name."""
        known = {one.task for one in list(self._traffic.exchanges)}
        known |= {task for task, _ in self._tasks.at_work()}
        known |= {task for _, _, task in self._components.at_work()}
        tasks: set[asyncio.Task[Any]] = set()
        if self.loop is not None:
            with suppress(RuntimeError):  # the set changed all the time
                tasks = asyncio.all_tasks(self.loop)
        for task in tasks - known:
            yield Held("task", task.get_name(), math.nan, stack_of(task))


def _all_threads() -> list[threading.Thread]:
    """The main thread, and all others that are neither idle nor of the lifecycle itself."""
    main, frames = threading.main_thread(), sys._current_frames()
    others = [one for one in threading.enumerate() if one is not main and not is_idle(one)]
    return [main, *(one for one in others if not _is_own(frames.get(one.ident or 0)))]


def _is_own(frame: FrameType | None) -> bool:
    outermost = ""
    while frame is not None:
        if frame.f_code.co_filename != threading.__file__:
            outermost = frame.f_code.co_filename
        frame = frame.f_back
    return outermost.startswith(OWN)


def _thread(thread: threading.Thread) -> Held:
    """Its name, and the request that it works for, whose age counts then."""
    where = stacks([thread]).get(thread.name, [])
    exchange = _exchange_of(sys._current_frames().get(thread.ident or 0))
    if exchange is not None:
        seconds = time.monotonic() - exchange.began
        return Held("thread", f"{thread.name}: {exchange.name}", seconds, where)
    return Held("thread", thread.name, _age(thread), where)


def _exchange_of(frame: FrameType | None) -> Exchange | None:
    """The request of a ``def`` endpoint: anyio's worker has a copy of its context."""
    while frame is not None:
        if frame.f_code.co_filename.endswith(ANYIO):
            context = frame.f_locals.get("context")
            request = context.get(current_request) if isinstance(context, Context) else None
            return request if isinstance(request, Exchange) else None
        frame = frame.f_back
    return None


def _age(thread: threading.Thread) -> float:
    """Seconds since ``thread`` began; nan where the system is not Linux."""
    with suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/self/task/{thread.native_id}/stat").read_text("utf-8", "replace")
        ticks = int(text.rpartition(")")[2].split()[STARTED])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return math.nan
