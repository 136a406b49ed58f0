"""Which pod may run singletons: at most one at a time.

The election is elsewhere: a component reports its state here (``hold``, ``lose``,
``announce``, ``explain``), and tasks run singletons here (``run``).
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
    """Whether this pod leads, until when, and its running singletons.

    Times are seconds on the monotonic clock. For one event loop, unless stated otherwise.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        #: Seconds that a running round gets to finish in a drain, before it is cancelled
        #: and the leadership handed over.
        self.finish = 1.0
        #: The known leader; empty for none.
        self.leader = ""
        #: The fencing number of this pod's latest leadership, greater than all before; 0 for
        #: none. A store that rejects smaller numbers than it has seen is safe even from a pod
        #: that was paused in the middle of a step.
        self.term = 0
        self._transitions = 0
        #: Changes of leader that were seen.
        self.changes = 0
        #: Why this pod cannot lead or does not know who does; empty if nothing is missing.
        self.missing = "the service has not started"
        #: Rounds that were cut off, by name.
        self.cut: Counter[str] = Counter()
        #: Set once this pod may lead, and once it drains and may not.
        self.started = asyncio.Event()
        self.draining = asyncio.Event()
        #: Set when the leadership is over and no singleton runs.
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

        Singletons that work in threads or tasks of their own must check it before each
        write: only their own steps end with the leadership.
        """
        return self._clock() < self._give_up

    def status(self) -> dict[str, object]:
        """The content of ``/statusz``; from any thread."""
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
        """This pod leads until ``end``, if it is not renewed before ``give_up``.

        Rounds are cancelled at ``give_up``, and none of their steps runs after ``end``,
        when another pod may lead. Returns False if the time is over or the service drains.
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
        """This pod no longer leads: end all rounds, at once if ``another_leads``."""
        if math.isinf(self._give_up):
            return
        now = self._clock()
        until = now + CLEAN_UP if another_leads else max(self.end, now + CLEAN_UP)
        self._give_up = self.end = -math.inf
        self._set_timer()
        rounds = [round_.name for round_ in self._rounds]
        log.warning("leadership lost", reason=reason, singletons=rounds)
        for round_ in self._rounds:
            round_.end(reason, until)

    def announce(self, leader: str, transitions: int) -> None:
        """``leader`` leads; empty for none. ``transitions`` is the Lease's count."""
        if self._complained:
            log.info("leader election works again")
        self.missing, self._complained = "", False
        if (leader, transitions) != (self.leader, self._transitions):
            log.info("leader changed", leader=leader, previous=self.leader, transitions=transitions)
            self.changes += leader != self.leader
            self.leader, self._transitions = leader, transitions

    def explain(self, missing: str) -> None:
        """This pod cannot lead or does not know who does; log the reason once."""
        if missing != self.missing:
            log.warning("leader election failed; this pod runs no singletons", missing=missing)
        self.missing, self._complained = missing, True

    # -- for the tasks ------------------------------------------------------------------

    async def run(self, name: str, work: Callable[[], Awaitable[object]]) -> bool:
        """Run a round of ``work`` if this pod leads; return False if it was cut off.

        Raises what ``work`` raises.
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
            round_.end(str(error), self._clock() + CLEAN_UP)
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
        """End all rounds if the time is over; called before each of their steps."""
        if self._clock() >= self._give_up:
            self.lose("the lease was not renewed in time")

    # -- for the service ----------------------------------------------------------------

    def start(self, lifecycle: Lifecycle) -> None:
        """This pod may lead from now on until it drains."""
        self.missing = "the API was not asked yet"
        self.started.set()
        self._hand_over = asyncio.create_task(self._wait_and_hand_over(lifecycle), name="hand over")

    async def _wait_and_hand_over(self, lifecycle: Lifecycle) -> None:
        await lifecycle.wait(Phase.DRAINING)
        self.draining.set()
        await lifecycle.hurried.or_done([one.task for one in self._rounds], self.finish)
        for round_ in tuple(self._rounds):
            round_.end(f"the service stops: {lifecycle.reason}", self._clock() + CLEAN_UP)
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
