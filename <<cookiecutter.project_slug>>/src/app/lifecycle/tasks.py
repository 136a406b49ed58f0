"""Background tasks by name: started once or periodically, and ended at a stop."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
#% if cookiecutter.leader_election == "yes"
from functools import partial
#% endif
from typing import Any

import structlog

from app.lifecycle import deadline
from app.lifecycle.budget import clean_up
#% if cookiecutter.leader_election == "yes"
from app.lifecycle.kubernetes.leadership import Leadership
#% endif
#% if cookiecutter.tracing == "opentelemetry"
from app.lifecycle.phase import Lifecycle, Phase
from app.observability import spans

#% else
from app.lifecycle.phase import Lifecycle, Phase

#% endif
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Rounds:
    """A periodic task and how it went; to be read from any thread.

    ``seconds`` and ``jitter`` are its interval, ``last_run`` and ``next_run`` are Unix times.
    """

    name: str
    work: Callable[[], Awaitable[object]]
    seconds: float
    jitter: float
    #: Rounds that ended by themselves, also those that failed.
    runs: int = 0
    #: When the last round began; None before the first.
    last_run: float | None = None
    #: When the next one begins; None while one runs, and if there is no next one.
    next_run: float | None = None
    #: When the one that runs began, on the monotonic clock; None between rounds.
    began: float | None = None


class Tasks:
    """The background tasks of this service.

    Not for work that must survive the process: use an external queue.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        #: With their rounds, or when they began.
        self._running: dict[asyncio.Task[Any], Rounds | float] = {}
        #: The periodic tasks by name.
        self.rounds: dict[str, Rounds] = {}
        self._started = False
#% if cookiecutter.leader_election == "yes"
        #: Whether this pod may run singletons.
        self.leadership = Leadership()
#% endif
        #: Exceptions by task name.
        self.failures: Counter[str] = Counter()
        self.finished = 0
        self.cut: list[str] = []

    def spawn(
        self, work: Coroutine[Any, Any, object], *, name: str, keep_deadline: bool = False
    ) -> asyncio.Task[None]:
        """Run ``work`` in the background of the running event loop.

        It has no deadline unless it should ``keep_deadline`` of the current request: then
        it is cancelled when that has passed, and fails with TimeoutError.

        Exceptions are logged and counted. The task continues during a drain; then it
        gets its share of the stop's budget before it is cancelled.
        """
        kept = deadline.keep(work) if keep_deadline else deadline.drop(work)
#% if cookiecutter.tracing == "opentelemetry"
        kept = spans.task(name, kept)
#% endif
        return self._track(self._guard(name, kept), name)

    def every(
        self,
        seconds: float,
        work: Callable[[], Awaitable[object]],
        *,
        name: str,
        jitter: float = 0.0,
#% if cookiecutter.leader_election == "yes"
        singleton: bool = False,
#% endif
    ) -> None:
        """Call ``work`` every ``seconds``, each time up to ``jitter`` seconds later.

#% if cookiecutter.leader_election == "yes"
        A ``singleton`` runs in one pod at a time: a pod that does not lead skips the
        round. When the leadership ends, the round is cancelled, and none of it runs
        once another pod may lead. At a stop it gets APP_LEADER_ELECTION__FINISH_SECONDS.

#% endif
        The first round starts after one interval. Rounds never overlap: a long one
        delays the next. No round starts while the service drains; a running one may
        finish. May be called before the service runs. Raises ValueError if ``seconds``
        is not above 0, ``jitter`` is negative, or the name is taken.
        """
        if seconds <= 0 or jitter < 0:
            raise ValueError(f"task {name!r}: seconds must be above 0, and jitter at least 0")
        if name in self.rounds:
            raise ValueError(f"there is already a periodic task named {name!r}")
#% if cookiecutter.leader_election == "yes"
        if singleton:
            work = partial(self._run_alone, name, work)
#% endif
        self.rounds[name] = rounds = Rounds(name, work, seconds, jitter)
        if self._started:
            self._track(self._repeat(rounds), name, rounds)

    def start(self) -> None:
        """Start the periodic tasks; the event loop runs now."""
        self._started = True
#% if cookiecutter.leader_election == "yes"
        self.leadership.start(self._lifecycle)
#% endif
        for name, rounds in self.rounds.items():
            self._track(self._repeat(rounds), name, rounds)

    def names(self) -> list[str]:
        """Names of the running tasks; from any thread."""
        return sorted(task.get_name() for task in list(self._running))

    def at_work(self) -> Iterator[tuple[asyncio.Task[Any], float | None]]:
        """The running tasks with the seconds since each began, or its round; from any thread.

        None for one that waits for its next round.
        """
        now = time.monotonic()
        for task, known in list(self._running.items()):
            began = known.began if isinstance(known, Rounds) else known
            yield task, None if began is None else now - began

    async def stop(
        self, budget: float, on_late: Callable[[], object] = lambda: None
    ) -> list[asyncio.Task[Any]]:
        """Let the tasks finish, then cancel them; return those that do not respond.

        Takes at most ``budget`` seconds. A hurried stop cancels them at once. ``on_late`` is
        called before tasks are cancelled.
        """
        patience = max(0.0, budget - clean_up(budget))
        await self._lifecycle.hurried.or_done(self._running, patience)
        late = set(self._running)
        if late:
            on_late()
        for task in late:
            self.cut.append(task.get_name())
            task.cancel(f"{self._lifecycle.reason}; its {patience:.1f} s to finish ran out")
        if late:
            await asyncio.wait(late, timeout=clean_up(budget))
        return [task for task in late if not task.done()]

    def _track(
        self, work: Coroutine[Any, Any, None], name: str, rounds: Rounds | None = None
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running[task] = rounds or time.monotonic()
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.pop(task, None)
        if self._lifecycle.draining and not task.cancelled():
            self.finished += 1

    async def _guard(self, name: str, work: Awaitable[object]) -> None:
        try:
            await work
        except (Exception, asyncio.CancelledError):
            if _cancelled():  # this task itself, not something it awaited
                raise
            self.failures[name] += 1
            log.exception("task failed", task=name)

    async def _repeat(self, rounds: Rounds) -> None:
        due = time.monotonic() + rounds.seconds
        while not await self._drains_before(due + random.uniform(0, rounds.jitter), rounds):
            rounds.last_run, rounds.began = time.time(), time.monotonic()
#% if cookiecutter.tracing == "opentelemetry"
            work = spans.task(rounds.name, rounds.work(), periodic=True)
            await self._guard(rounds.name, work)
#% else
            await self._guard(rounds.name, rounds.work())
#% endif
            rounds.runs += 1
            rounds.began = None
            due = max(due + rounds.seconds, time.monotonic())

#% if cookiecutter.leader_election == "yes"
    async def _run_alone(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run a round if this pod leads; the report names it if a stop cuts it off."""
        if not await self.leadership.run(name, work) and self._lifecycle.draining:
            self.cut.append(name)

#% endif
    async def _drains_before(self, due: float, rounds: Rounds) -> bool:
        left = max(0.0, due - time.monotonic())
        rounds.next_run = None if self._lifecycle.draining else time.time() + left
        try:
            async with asyncio.timeout(left):
                await self._lifecycle.wait(Phase.DRAINING)
        except TimeoutError:
            return self._lifecycle.draining
        finally:
            rounds.next_run = None
        return True


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
