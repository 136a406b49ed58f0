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

from app.lifecycle.latch import Latch


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the traffic at one moment; times on the monotonic clock."""

    began: float
    """When the drain began."""
    last_arrival: float = -math.inf
    """The last new request, or new connection that has not sent its request yet."""
    endpoint_gone: float | None = None
    """When this pod's endpoint was seen withdrawn; None where nobody watches it."""
    in_flight: int = 0
    """Requests that are not complete; streams do not count."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now, and when to ask again if nothing happens before."""

    arrivals_over: bool
    stop_listening: bool
    ask_again_at: float
    waiting_for: str


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """When it is safe to stop listening.

    A pod that is being replaced still gets connections until every router has
    dropped it, and nothing tells the pod when that is. The policy waits for the
    best evidence there is, and never longer than ``limit``::

        min(limit, max(floor, endpoint gone + slack, last arrival + quiet))

    and not before nothing is in flight.

    All times are seconds on the monotonic clock; the caller passes ``now``.

    ``floor`` covers routers that are sure to be late, ``slack`` the nodes that
    apply a withdrawn endpoint after the API has it, ``quiet`` the routers nobody
    can see: as long as one still sends, it has not heard of the stop.
    """

    floor: float = 0.0
    slack: float = 2.0
    quiet: float = 1.0
    limit: float = 18.0

    def arrivals_end(self, evidence: Evidence) -> float:
        """The moment from which no new request is expected, as far as is known."""
        dates = [evidence.began + self.floor, evidence.last_arrival + self.quiet]
        if evidence.endpoint_gone is not None:
            dates.append(evidence.endpoint_gone + self.slack)
        return min(evidence.began + self.limit, max(dates))

    def decide(self, now: float, evidence: Evidence) -> Verdict:
        """Say whether to stop listening at ``now``."""
        limit = evidence.began + self.limit
        over = self.arrivals_end(evidence)
        if now >= limit:
            return Verdict(True, True, math.inf, "nothing: the limit is reached")
        if now < over:
            return Verdict(False, False, over, "arrivals to end")
        if evidence.in_flight:
            return Verdict(True, False, limit, "requests in flight")
        return Verdict(True, True, math.inf, "nothing: quiet and idle")


class Gauge(Protocol):
    """Where the loop reads the evidence."""

    def evidence(self, began: float) -> Evidence: ...

    async def changed(self) -> None:
        """Return at the next change since ``evidence`` was read."""
        ...


async def drain(
    policy: DrainPolicy,
    gauge: Gauge,
    *,
    began: float,
    hurried: Latch,
    arrivals_over: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until it is safe to stop listening; say whether the wait was cut short.

    ``began`` is the monotonic time at which the drain began. ``arrivals_over`` is
    called when no new request is expected any more, perhaps more than once.
    ``hurried`` ends the wait at once; so does the limit.
    """
    while True:
        evidence = gauge.evidence(began)
        now = clock()
        verdict = policy.decide(now, evidence)
        if verdict.arrivals_over or hurried.is_set():
            arrivals_over()
        if verdict.stop_listening or hurried.is_set():
            return hurried.is_set() or now >= began + policy.limit
        change = asyncio.create_task(gauge.changed())
        try:
            await hurried.or_done({change}, verdict.ask_again_at - now)
        finally:
            change.cancel()
