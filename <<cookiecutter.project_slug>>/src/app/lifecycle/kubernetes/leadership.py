"""Who may run singletons: at most one pod at a time, and this one only while it is sure.

How the pods agree is no matter of this file: a component tells it (``hold``,
``lose``, ``announce``, ``explain``), the tasks ask it (``run``).
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from app.lifecycle.kubernetes.singletons import CLEAN_UP, Clock, Guard, Round
from app.lifecycle.phase import Lifecycle, Phase

log = structlog.get_logger(__name__)


class Leadership:
    """Whether this pod leads, until when, and the singletons that run meanwhile.

    Times are seconds on the monotonic clock. For the event loop that runs the
    singletons, but for what says otherwise.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        #: Seconds that a round under way gets to finish when the service drains,
        #: before it is cancelled and the leadership handed over.
        self.finish = 1.0
        #: The pod that leads, as far as is known; empty for nobody.
        self.leader = ""
        #: The fencing number of this pod's latest leadership, greater than that of every
        #: leader before: a store that refuses what comes with a smaller number than it has
        #: seen is safe even from a pod that was stopped in the middle of a step. 0 for none yet.
        self.term = 0
        self._transitions = 0
        #: How many changes of leader were seen.
        self.changes = 0
        #: What keeps this pod from leading or from knowing who does; empty for nothing.
        self.missing = "the service has not started"
        #: How many rounds were cut off, by name.
        self.cut: Counter[str] = Counter()
        #: Set when this pod has started and may lead, and when it drains and may not any more.
        self.started = asyncio.Event()
        self.draining = asyncio.Event()
        #: Set when this pod leads no more, and none of its singletons runs.
        self.over = asyncio.Event()
        self.end = -math.inf
        self._give_up = -math.inf
        self._clock = clock
        self._complained = False
        self._guard = Guard(clock)
        self._rounds: set[Round] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._hand_over: asyncio.Task[None] | None = None

    @property
    def leads(self) -> bool:
        """Whether this pod leads now; from any thread.

        Singletons that do work in threads or tasks of their own ask this before
        each write: only their own steps end with the leadership.
        """
        return self._clock() < self._give_up

    def status(self) -> dict[str, object]:
        """What ``/statusz`` shows; from any thread."""
        left = max(0.0, self.end - self._clock()) if self.leads else 0.0
        return {
            "leads": self.leads,
            "leader": self.leader,
            "term": self.term,
            "seconds_left": round(left, 3),
            "missing": self.missing,
            "cut": dict(self.cut),
        }

    # -- for the component that campaigns -----------------------------------------------

    def hold(self, give_up: float, end: float, term: int) -> bool:
        """This pod leads until ``end``, unless it is told more before ``give_up``.

        Rounds are cancelled at ``give_up``; no step of theirs is made after ``end``,
        when another pod may lead. False where it is too late for that: the time is
        over, or the service drains.
        """
        if self._clock() >= give_up:
            self.lose("the answer came too late")
            return False
        if self.draining.is_set() and not self.leads:
            return False
        self._give_up, self.end, self.term = give_up, end, term
        self._set_timer()
        return True

    def lose(self, reason: str, *, another_leads: bool = False) -> None:
        """This pod leads no more: end all rounds, at once if ``another_leads`` already."""
        if math.isinf(self._give_up):
            return
        now = self._clock()
        until = now + CLEAN_UP if another_leads else max(self.end, now + CLEAN_UP)
        self._give_up = self.end = -math.inf
        self._set_timer()
        rounds = [round_.name for round_ in self._rounds]
        log.warning("leadership lost", reason=reason, singletons=rounds)
        for round_ in self._rounds:
            round_.tell(reason, until)

    def announce(self, leader: str, transitions: int) -> None:
        """``leader`` leads, as all pods see it; empty for nobody.

        ``transitions`` is how often the leadership changed hands, by the Lease.
        """
        if self._complained:
            log.info("leader election works again")
        self.missing, self._complained = "", False
        if (leader, transitions) != (self.leader, self._transitions):
            log.info("leader changed", leader=leader, previous=self.leader, transitions=transitions)
            self.changes += leader != self.leader
            self.leader, self._transitions = leader, transitions

    def explain(self, missing: str) -> None:
        """This pod cannot lead, or cannot know who does; the reason is logged once."""
        if missing != self.missing:
            log.warning(
                "leader election does not work; this pod runs no singletons", missing=missing
            )
        self.missing, self._complained = missing, True

    # -- for the tasks ------------------------------------------------------------------

    async def run(self, name: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Run a round of ``work`` if this pod leads; False if it was cut off.

        Raises what the work raises.
        """
        if not self.leads or self.draining.is_set():
            return True

        async def coroutine() -> None:
            await work()

        round_ = Round(name, coroutine(), self, self._guard, self._clock)
        self._rounds.add(round_)
        round_.task.add_done_callback(lambda _: self._rounds.discard(round_))
        try:
            await asyncio.wait({round_.task})
        except asyncio.CancelledError as error:
            round_.tell(str(error), self._clock() + CLEAN_UP)
            raise
        if not (round_.task.cancelled() and round_.reason):
            round_.task.result()
            return True
        self.cut[name] += 1
        log.warning(
            "singleton cut off", task=name, reason=round_.reason, cleaned_up=not round_.abandoned
        )
        return False

    def look(self) -> None:
        """End all rounds if it is time; asked before each of their steps."""
        if self._clock() >= self._give_up:
            self.lose("it was not renewed in time")

    # -- for the service ----------------------------------------------------------------

    def start(self, lifecycle: Lifecycle) -> None:
        """This pod may lead from now on, until it drains."""
        self.missing = "nobody has been asked yet"
        self.started.set()
        self._hand_over = asyncio.create_task(self._wait_and_hand_over(lifecycle), name="hand over")

    async def _wait_and_hand_over(self, lifecycle: Lifecycle) -> None:
        await lifecycle.wait(Phase.DRAINING)
        self.draining.set()
        await lifecycle.hurried.or_done([one.task for one in self._rounds], self.finish)
        for round_ in tuple(self._rounds):
            round_.tell(f"the service stops: {lifecycle.reason}", self._clock() + CLEAN_UP)
        if self._rounds:
            await asyncio.wait([one.task for one in self._rounds])
        self._give_up = self.end = -math.inf
        self._set_timer()
        self.over.set()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not math.isinf(self._give_up):
            left = self._give_up - self._clock()
            self._timer = asyncio.get_running_loop().call_later(left, self._expire)

    def _expire(self) -> None:
        self.look()
        self._set_timer()  # timers may be early
