"""Load shedding: a pod that gets more requests than it can serve answers the rest at once.

A service that accepts everything serves nothing in time once it is overloaded. Here a limit
of requests run, a few wait for a moment, and the others get 503 within milliseconds. Only
imported where a limit is set.

A request holds its slot until its handler and its background work are done. An event stream,
a stream of records and a WebSocket give it back when they become one: they last for hours,
mostly idle, and would starve everything else; ``Traffic.in_flight`` leaves them out, too.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from app.lifecycle.asgi import App, Receive, Scope, Send
from app.lifecycle.http.admission import ADMITTED, GONE, Admission, Priority, Waiter
from app.lifecycle.http.exchange import Exchange
from app.lifecycle.http.gradient import Gradient
from app.observability.logging import current_request

log = structlog.get_logger(__name__)

#: Seconds without a shed request after which the next one is logged again.
EPISODE = 10.0
#: Weight of the newest request in the typical time of one.
NEWEST = 0.05
#: Seconds between two looks at the queue: a part of the longest wait, within bounds.
SWEEP_PART, SWEEP_LEAST, SWEEP_MOST = 0.25, 0.005, 0.05
#: Methods that change nothing (RFC 9110, section 9.2.1).
READS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})

_NAMES = {priority.name.lower().encode(): priority for priority in Priority}


@dataclass(frozen=True, slots=True)
class SheddingRule:
    """Options of load shedding; lifecycle/request_settings.py explains the fields."""

    most: int
    least: int = 4
    adaptive: bool = False
    queue: int = 10
    queue_seconds: float = 0.1
    priority: Literal["off", "header", "method"] = "off"
    header: str = "X-Priority"
    reserved: float = 0.2


class Shedding:
    """ASGI middleware inside of ``Traffic``: limits the requests that ``app`` works on.

    ``Traffic`` must call ``release`` with each exchange that becomes a stream. Waiters are
    in flight for the drain; ``Traffic.cut`` ends them like any other request.
    """

    def __init__(self, app: App, limits: SheddingRule) -> None:
        self._app = app
        self._header = limits.header.lower().encode()
        self._class_of = {
            "off": _all_alike,
            "header": self._class_by_header,
            "method": _class_by_method,
        }[limits.priority]
        now = time.monotonic()
        self._gradient = Gradient(limits.least, limits.most, now) if limits.adaptive else None
        self._admission = Admission(
            limits.most if self._gradient is None else self._gradient.limit,
            queue=limits.queue,
            patience=limits.queue_seconds,
            reserved=0.0 if limits.priority == "off" else limits.reserved,
        )
        self._sweep_every = min(SWEEP_MOST, max(SWEEP_LEAST, limits.queue_seconds * SWEEP_PART))
        self._sweeper: asyncio.TimerHandle | None = None
        #: Until when a request must be answered, on the monotonic clock; infinite if never.
        self.deadline_of: Callable[[Exchange], float] = lambda _: math.inf
        #: How many requests were shed, by reason and class.
        self.shed: dict[tuple[str, str], int] = {}
        self._last_shed = -math.inf

    @property
    def limit(self) -> int:
        """How many requests may run now."""
        return self._admission.limit

    @property
    def running(self) -> int:
        """How many requests hold a slot."""
        return len(self._admission.running)

    @property
    def queued(self) -> int:
        """How many requests wait for a slot."""
        return self._admission.queued

    def load(self) -> float:
        """The requests that run or wait, as a share of the limit."""
        return (self.running + self.queued) / self.limit

    def status(self) -> dict[str, object]:
        """The fields of ``/statusz``."""
        shed = sum(dict(self.shed).values())
        return {
            "limit": self.limit,
            "running": self.running,
            "queued": self.queued,
            "shed": shed,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        exchange = current_request.get()
        assert isinstance(exchange, Exchange)  # noqa: S101
        priority = self._class_of(scope)
        if not self._admission.admit(exchange, priority, exchange.began):
            reason = await self._wait(exchange, priority)
            if reason != ADMITTED:
                return await self._shed(exchange, reason, priority)
        try:
            return await self._app(scope, receive, send)
        finally:
            self.release(exchange)

    def release(self, exchange: Exchange) -> None:
        """Give the slot back, if it is still held: the request is done or has become a stream."""
        admission = self._admission
        in_flight = len(admission.running)
        now = time.monotonic()
        seconds = admission.release(exchange, now)
        if seconds is None or exchange.stream:
            return
        admission.typical += NEWEST * (seconds - admission.typical)
        gradient = self._gradient
        if gradient is not None and gradient.record(seconds, in_flight, now):
            admission.resize(gradient.limit, now)

    async def _wait(self, exchange: Exchange, priority: Priority) -> str:
        """Wait for a slot; ADMITTED, GONE or why the request is shed."""
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[str] = loop.create_future()

        def decide(reason: str) -> None:
            if not verdict.done():  # cancelled: what is below gives the slot back
                verdict.set_result(reason)

        waiter = Waiter(
            exchange,
            priority,
            decide,
            deadline=self.deadline_of(exchange),
            gone=lambda: exchange.client_gone,
        )
        if reason := self._admission.wait(waiter, time.monotonic()):
            return reason
        if self._sweeper is None:
            self._sweeper = loop.call_later(self._sweep_every, self._sweep)
        try:
            return await verdict
        except asyncio.CancelledError:
            self._admission.leave(waiter)
            self.release(exchange)
            raise

    def _sweep(self) -> None:
        """One timer for all waiters, and none while nobody waits."""
        self._admission.expire(time.monotonic())
        self._sweeper = None
        if self._admission.queued:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(self._sweep_every, self._sweep)

    async def _shed(self, exchange: Exchange, reason: str, priority: Priority) -> None:
        if reason == GONE:
            return
        self._count(reason, priority)
        exchange.refused = "shed"
        headers = [(b"retry-after", b"1")]
        if any(name == b"expect" for name, _ in exchange.scope["headers"]):
            # The client may leave out the body it has announced (RFC 9110, section 10.1.1).
            headers.append((b"connection", b"close"))
        await exchange.answer(503, "too many requests are in flight: try again later", *headers)

    def _count(self, reason: str, priority: Priority) -> None:
        """Count a request that is shed; log the first one of an overload."""
        key = reason, priority.name.lower()
        self.shed[key] = self.shed.get(key, 0) + 1
        now = time.monotonic()
        if now - self._last_shed > EPISODE:
            log.warning("shedding load", limit=self.limit, reason=reason, priority=key[1])
        self._last_shed = now

    def _class_by_header(self, scope: Scope) -> Priority:
        """The class that the client asks for; NORMAL if it names none."""
        for name, value in scope["headers"]:
            if name == self._header:
                return _NAMES.get(value.strip().lower(), Priority.NORMAL)
        return Priority.NORMAL


def _all_alike(_scope: Scope) -> Priority:
    return Priority.NORMAL


def _class_by_method(scope: Scope) -> Priority:
    """Writes before reads; a WebSocket begins as a read."""
    return Priority.LOW if scope.get("method", "GET") in READS else Priority.HIGH
