"""When it is safe to stop listening.

The policy is a pure function of the evidence and the time. The loop around it
reacts to events and otherwise sleeps until the policy's next date.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

#% if cookiecutter.service_registry != "none"
from app.lifecycle import registration
#% endif
from app.lifecycle.event import Event


@dataclass(frozen=True, slots=True)
class Rotation:
    """Whether routers still send connections here; times on the monotonic clock."""

    gone: float | None = None
    """When the endpoint was withdrawn; infinite before, None if it cannot be watched."""
    last_seen: float = -math.inf
    """When the endpoint was last known to be in rotation."""
    heard_by: float = math.inf
    """By when the API must respond, or the endpoint counts as not watched."""
    own_answer: float = -math.inf
    """When this pod last reached itself at its Service's address."""
    asking_until: float = -math.inf
    """By when it is known which pods answer there."""
    unsure: str = ""
    """Why answers of other pods are no evidence; empty if they are, or if nobody asks."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known about the traffic now; times on the monotonic clock."""

    began: float
    """When the drain began."""
    last_request: float = -math.inf
    """The last new request, or new connection without a request so far."""
    rotation: Rotation = Rotation()
#% if cookiecutter.service_registry != "none"
    listing: registration.Listing | None = None
    """This pod's entry in the service registry; None if there was none."""
#% endif
    in_flight: int = 0
    """Incomplete requests, without streams."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do now, and when to ask again if nothing changes."""

    traffic_over: bool
    stop_listening: bool
    ask_again_at: float
    waiting_for: str
    decided_by: str
    """The name of the last date of the rule to pass."""


@dataclass(frozen=True, slots=True)
class DrainPolicy:
    """When it is safe to stop listening.

    A pod that is being replaced gets connections until every router has dropped
    it, and nothing tells the pod when that is. The policy waits for the best
    available evidence, and never longer than ``limit``::

#% if cookiecutter.service_registry == "none"
        min(limit, max(floor, endpoint gone + slack, last new request + quiet))
#% else
        min(limit, max(floor, endpoint gone + slack, removed from the registry + readers,
                       last new request + quiet))
#% endif

    and until nothing is in flight. Gone means: withdrawn in the API, and this pod no
    longer reaches itself at its Service's address. If the endpoint cannot be watched,
    or the API does not respond in time, ``fallback`` replaces that term: it counts
    from the beginning, or from when the endpoint was last known to be in rotation.

    All times are seconds on the monotonic clock; the caller passes ``now``.

    ``floor`` covers routers that are always late, ``slack`` nodes that apply a
    withdrawn endpoint later than the API, ``quiet`` routers that nobody can observe:
    a router that still sends does not know of the stop.
#% if cookiecutter.service_registry != "none"

    Clients that poll a service registry learn of the removed entry within ``readers``
    seconds. An entry that cannot be removed counts as removed when it expires.
#% endif
    """

    floor: float = 0.0
    slack: float = 2.0
    quiet: float = 1.0
    limit: float = 18.0
    fallback: float = 0.0

    def dates(self, evidence: Evidence) -> dict[str, float]:
        """The dates after which no new request is expected, by name, without the limit."""
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
#% if cookiecutter.service_registry != "none"
        if evidence.listing is not None:
            dates["removed from the registry + readers"] = evidence.listing.unread
#% endif
        dates["last new request + quiet"] = evidence.last_request + self.quiet
        return dates

    def traffic_ends(self, evidence: Evidence) -> float:
        """When no new request is expected any more, on current evidence."""
        return min(evidence.began + self.limit, max(self.dates(evidence).values()))

    def decide(self, now: float, evidence: Evidence) -> Verdict:
        """Decide whether to stop listening at ``now``."""
        limit = evidence.began + self.limit
        over, dates = self.traffic_ends(evidence), self.dates(evidence)
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
    """Source of the evidence."""

    def evidence(self, began: float) -> Evidence: ...

    async def changed(self, timeout: float, *, idle: bool) -> None:
        """Return when the evidence changes, or after ``timeout`` seconds.

        A new request does not count: it only delays a date that the loop waits for
        anyway. The end of the last request in flight counts if ``idle``.
        """
        ...

    def wake(self) -> None:
        """Make ``changed`` return."""
        ...


async def drain(
    policy: DrainPolicy,
    gauge: Gauge,
    *,
    began: float,
    hurried: Event,
    on_traffic_over: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait until it is safe to stop listening; return whether the wait was cut short.

    ``began`` is the monotonic time at which the drain began. ``on_traffic_over`` is
    called, perhaps repeatedly, when no new request is expected, with the name of the
    deciding date. ``hurried`` and the limit end the wait at once.
    """
    hurry = asyncio.create_task(hurried.wait())
    hurry.add_done_callback(lambda done: gauge.wake())
    try:
        while True:
            evidence = gauge.evidence(began)
            now = clock()
            verdict = policy.decide(now, evidence)
            if verdict.traffic_over or hurried.is_set():
                on_traffic_over("hurried" if hurried.is_set() else verdict.decided_by)
            if verdict.stop_listening or hurried.is_set():
                return hurried.is_set() or now >= began + policy.limit
            await gauge.changed(verdict.ask_again_at - now, idle=verdict.traffic_over)
    finally:
        hurry.cancel()
