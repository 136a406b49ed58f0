"""When it is safe to stop listening, and the loop that asks.

The rule is pure: evidence and the time go in, a verdict comes out. The loop
around it reacts to events and otherwise sleeps until the rule's next date.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from app.lifecycle.event import Event


@dataclass(frozen=True, slots=True)
class Rotation:
    """Whether connections are sent to this pod; times on the monotonic clock."""

    gone: float | None = None
    """When its endpoint was seen withdrawn; infinite before, None where it cannot be watched."""
    last_seen: float = -math.inf
    """When the endpoint was last known to be there."""
    heard_by: float = math.inf
    """When the API must have been heard of again, or the endpoint counts as not watched."""
    own_answer: float = -math.inf
    """When this pod last answered to itself at its Service's address."""
    asking_until: float = -math.inf
    """When it will be known at the latest who answers there."""
    unsure: str = ""
    """Why it is no evidence that others answer there; empty where it is, or nobody asks."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the traffic at one moment; times on the monotonic clock."""

    began: float
    """When the drain began."""
    last_arrival: float = -math.inf
    """The last new request, or new connection that has not sent its request yet."""
    rotation: Rotation = Rotation()
    in_flight: int = 0
    """Requests that are not complete; streams do not count."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now, and when to ask again if nothing happens before."""

    arrivals_over: bool
    stop_listening: bool
    ask_again_at: float
    waiting_for: str
    decided_by: str
    """The date that is the last one to pass, of those in the rule."""


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """When it is safe to stop listening.

    A pod that is being replaced still gets connections until every router has
    dropped it, and nothing tells the pod when that is. The policy waits for the
    best evidence there is, and never longer than ``limit``::

        min(limit, max(floor, endpoint gone + slack, last arrival + quiet))

    and not before nothing is in flight. Gone means: withdrawn in the API, and the
    last time that this pod answered to itself at its Service's address. Where the
    endpoint cannot be watched, or the API is not heard of in time, ``fallback`` takes
    the place of that term: from the beginning, or from when the endpoint was last
    known to be there. That is a date like all others: whoever asks the API may hang.

    All times are seconds on the monotonic clock; the caller passes ``now``.

    ``floor`` covers routers that are sure to be late, ``slack`` the nodes that
    apply a withdrawn endpoint after the API has it, ``quiet`` the routers nobody
    can see: as long as one still sends, it has not heard of the stop.
    """

    floor: float = 0.0
    slack: float = 2.0
    quiet: float = 1.0
    limit: float = 18.0
    fallback: float = 0.0

    def dates(self, evidence: Evidence) -> dict[str, float]:
        """What must have passed before arrivals are over, by name; the limit aside."""
        began, rotation = evidence.began, evidence.rotation
        dates = {"floor": began + self.floor}
        fallback = max(began, rotation.last_seen) + self.fallback
        margin, seconds = "slack", self.slack
        if rotation.unsure and self.fallback > self.slack:
            margin, seconds = f"fallback ({rotation.unsure})", self.fallback
        if rotation.gone is None:
            dates["fallback"] = fallback
        elif rotation.gone == math.inf and rotation.heard_by < began + self.limit:
            dates["fallback"] = max(fallback, rotation.heard_by)
        else:
            dates[f"endpoint gone + {margin}"] = rotation.gone + seconds
        if rotation.gone is not None:
            dates[f"last answer to itself + {margin}"] = rotation.own_answer + seconds
            dates["who answers at the Service"] = rotation.asking_until
        dates["last arrival + quiet"] = evidence.last_arrival + self.quiet
        return dates

    def arrivals_end(self, evidence: Evidence) -> float:
        """The moment from which no new request is expected, as far as is known."""
        return min(evidence.began + self.limit, max(self.dates(evidence).values()))

    def decide(self, now: float, evidence: Evidence) -> Verdict:
        """Say whether to stop listening at ``now``."""
        limit = evidence.began + self.limit
        over, dates = self.arrivals_end(evidence), self.dates(evidence)
        last = max(dates, key=dates.__getitem__)
        if now >= limit:
            last = last if dates[last] < limit else f"limit, before {last}"
            return Verdict(True, True, math.inf, "nothing: the limit is reached", last)
        if now < over:
            return Verdict(False, False, over, last, last)
        if evidence.in_flight:
            return Verdict(True, False, limit, "requests in flight", last)
        return Verdict(True, True, math.inf, "nothing: quiet and idle", last)


class Gauge(Protocol):
    """Where the loop reads the evidence."""

    def evidence(self, began: float) -> Evidence: ...

    async def changed(self, timeout: float, *, idle: bool) -> None:
        """Return at the next change since ``evidence`` was read, or after ``timeout`` seconds.

        A new request is none: it only puts off a date, at which the loop looks anyway.
        That nothing is in flight any more is one if ``idle``.
        """
        ...

    def wake(self) -> None:
        """Let ``changed`` return."""
        ...


async def drain(
    policy: DrainPolicy,
    gauge: Gauge,
    *,
    began: float,
    hurried: Event,
    arrivals_over: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until it is safe to stop listening; say whether the wait was cut short.

    ``began`` is the monotonic time at which the drain began. ``arrivals_over`` is
    called when no new request is expected any more, perhaps more than once, with
    what that rests on. ``hurried`` ends the wait at once; so does the limit.
    """
    hurry = asyncio.create_task(hurried.wait())
    hurry.add_done_callback(lambda done: gauge.wake())
    try:
        while True:
            evidence = gauge.evidence(began)
            now = clock()
            verdict = policy.decide(now, evidence)
            if verdict.arrivals_over or hurried.is_set():
                arrivals_over("hurried" if hurried.is_set() else verdict.decided_by)
            if verdict.stop_listening or hurried.is_set():
                return hurried.is_set() or now >= began + policy.limit
            await gauge.changed(verdict.ask_again_at - now, idle=verdict.arrivals_over)
    finally:
        hurry.cancel()
