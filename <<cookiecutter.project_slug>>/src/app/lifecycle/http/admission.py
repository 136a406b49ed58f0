"""Who may run when not everybody can: a limit with priorities, and a short queue.

Pure: the caller passes ``now``, in seconds on one monotonic clock, and calls ``expire``.
Nothing here knows of tasks or sockets.
"""

import enum
import math
from collections import deque
from collections.abc import Callable, Hashable

#: Why a request was shed: the queue is full or there is none; it waited for too long; it
#: could not be done before its deadline; a request of a higher class took its place.
FULL, TIMEOUT, DEADLINE, DISPLACED = "full", "timeout", "deadline", "displaced"
#: The verdict on a waiter that runs, and on one whose client has left.
ADMITTED, GONE = "", "gone"


class Priority(enum.IntEnum):
    """The classes of requests; LOW is shed first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


class Waiter:
    """A request in the queue; ``decide`` is called once, with ADMITTED, GONE or a reason.

    ``deadline`` is when its answer is due, on the clock. ``gone`` tells whether its client
    has left.
    """

    __slots__ = ("deadline", "decide", "expires", "gone", "key", "priority")

    def __init__(
        self,
        key: Hashable,
        priority: Priority,
        decide: Callable[[str], object],
        *,
        deadline: float = math.inf,
        gone: Callable[[], bool] = lambda: False,
    ) -> None:
        self.key = key
        self.priority = priority
        self.decide = decide
        self.deadline = deadline
        self.gone = gone
        #: When it is dropped for having waited too long; set by ``Admission.wait``.
        self.expires = math.inf


class Admission:
    """Slots for ``limit`` requests, and ``queue`` places to wait up to ``patience`` seconds.

    Requests of class LOW leave the share ``reserved`` of the limit to others, NORMAL ones
    half of it; each class has at least one slot. Waiters of the highest class go first and
    among them the newest (adaptive LIFO, Maurer, "Fail at Scale", 2015): under overload the
    oldest waiter is the one whose client is most likely to have given up.
    """

    def __init__(self, limit: int, *, queue: int, patience: float, reserved: float) -> None:
        self._queue = queue
        self._patience = patience
        self._reserved = reserved
        self._waiting: list[deque[Waiter]] = [deque() for _ in Priority]
        #: Requests with a slot, and when they got it.
        self.running: dict[Hashable, float] = {}
        #: How many requests wait.
        self.queued = 0
        #: Seconds that a request takes once it runs: a moving average.
        self.typical = 0.0
        self.limit = limit
        self._room = self._rooms()

    def admit(self, key: Hashable, priority: Priority, now: float) -> bool:
        """Take a slot if one is free for this class."""
        if len(self.running) >= self._room[priority]:
            return False
        self.running[key] = now
        return True

    def wait(self, waiter: Waiter, now: float) -> str:
        """Queue a request that was not admitted; the reason if it is shed instead."""
        if waiter.deadline - self.typical <= now:
            return DEADLINE
        if self.queued >= self._queue and not self._displace(waiter.priority):
            return FULL
        waiter.expires = now + self._patience
        self._waiting[waiter.priority].append(waiter)
        self.queued += 1
        return ADMITTED

    def release(self, key: Hashable, now: float) -> float | None:
        """Free a slot; the seconds for which it was held, None if it was free already."""
        began = self.running.pop(key, None)
        if began is None:
            return None
        if self.queued:
            self.serve(now)
        return now - began

    def leave(self, waiter: Waiter) -> None:
        """Forget a waiter that was not decided."""
        queue = self._waiting[waiter.priority]
        if waiter in queue:
            queue.remove(waiter)
            self.queued -= 1

    def resize(self, limit: int, now: float) -> None:
        """Change the limit. What runs goes on; waiters get what has become free."""
        self.limit = limit
        self._room = self._rooms()
        self.serve(now)

    def serve(self, now: float) -> None:
        """Give free slots to waiters: highest class first, newest first."""
        for priority in reversed(Priority):
            queue = self._waiting[priority]
            while queue and len(self.running) < self._room[priority]:
                waiter = queue.pop()
                self.queued -= 1
                if verdict := self._too_late(waiter, now):
                    waiter.decide(verdict)
                else:
                    self.running[waiter.key] = now
                    waiter.decide(ADMITTED)

    def expire(self, now: float) -> None:
        """Drop the waiters that have left, have waited too long or cannot be in time."""
        for priority, queue in enumerate(self._waiting):
            late = [
                (waiter, verdict) for waiter in queue if (verdict := self._too_late(waiter, now))
            ]
            if late:
                dropped = {id(waiter) for waiter, _ in late}
                self._waiting[priority] = deque(w for w in queue if id(w) not in dropped)
                self.queued -= len(late)
                for waiter, verdict in late:
                    waiter.decide(verdict)

    def _too_late(self, waiter: Waiter, now: float) -> str:
        if waiter.gone():
            return GONE
        if waiter.deadline - self.typical <= now:
            return DEADLINE
        return TIMEOUT if waiter.expires <= now else ADMITTED

    def _displace(self, priority: Priority) -> bool:
        """Drop the oldest waiter of the lowest class below ``priority``."""
        for queue in self._waiting[:priority]:
            if queue:
                self.queued -= 1
                queue.popleft().decide(DISPLACED)
                return True
        return False

    def _rooms(self) -> list[int]:
        """Slots that each class may use, LOW first."""
        shares = (self._reserved, self._reserved / 2, 0.0)
        return [max(1, math.floor(self.limit * (1 - share))) for share in shares]
