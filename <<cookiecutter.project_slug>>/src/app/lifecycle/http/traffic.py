"""Requests in flight: counted, refused and cut off during a stop; what the drain knows of them.

A healthy service pays per request for one set entry and the time of the last arrival. How
many requests of each kind there are is always known without a scan.
"""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from app.lifecycle.asgi import App, Receive, Scope, Send
from app.lifecycle.drain import Evidence, Rotation
from app.lifecycle.http.deadlines import sweep_forever
from app.lifecycle.http.exchange import Exchange
#% if cookiecutter.tracing == "opentelemetry"
from app.lifecycle.http.route import route_of
#% endif
from app.lifecycle.http.server import HttpServer
from app.lifecycle.http.threads import OverdueThreads
from app.lifecycle.phase import Lifecycle
#% if cookiecutter.service_registry != "none"
from app.lifecycle.registration import Registration
#% endif
#% if cookiecutter.tracing == "opentelemetry"
from app.observability import spans
#% endif
from app.observability.logging import current_request

log = structlog.get_logger(__name__)

#: Seconds between two checks of buffers that are being flushed.
POLL = 0.05


class Traffic:
    """ASGI middleware that tracks the requests to ``app``.

    ``uncounted`` maps paths to applications whose requests are not tracked: probes of the
    main port would otherwise keep the pod from ever being quiet. ``body_limit`` is the largest
    body of a request in bytes; 0 means none.
    """

    def __init__(
        self,
        app: App,
        lifecycle: Lifecycle,
        *,
        uncounted: Mapping[str, App] | None = None,
        body_limit: int = 0,
    ) -> None:
        self._body_limit = body_limit
        self._app = app
        self._lifecycle = lifecycle
        self._uncounted = dict(uncounted or {})
        #: Called with each finished exchange and its duration in seconds; they raise nothing.
        self.on_done: list[Callable[[Exchange, float], object]] = []
        self.exchanges: set[Exchange] = set()
        #: Those that are streams and not complete.
        self.open_streams: set[Exchange] = set()
#% if cookiecutter.tracing == "opentelemetry"
        self.tracing = spans.Tracing()
#% endif
        #: Called with each exchange that becomes a stream.
        self.on_stream: Callable[[Exchange], object] | None = None
        #: Called during a stop when the last request in flight is done.
        self.on_idle: Callable[[], object] = lambda: None
        #: Called during a stop with each new stream.
        self.on_late_stream: Callable[[Exchange], object] | None = None
        #: Whether routers still send requests; None until a drain watches that.
        self.rotation: Rotation | None = None
#% if cookiecutter.service_registry != "none"
        #: This pod's entry in the service registry.
        self.registration = Registration()
#% endif
        #: When the last new request began, on the monotonic clock.
        self.last_request = -math.inf
        #: ``def`` endpoints that go on after their request was cancelled.
        self.overdue_threads = OverdueThreads()
        #: Cancelled requests by cause.
        self.cancelled: Counter[str] = Counter()
        # Counted during a stop:
        self.requests_served = 0
        #: Requests answered 503 because they came after ``refuse``, or were shed.
        self.requests_refused = 0
        self.streams_ended = 0
        self.requests_cut: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        uncounted = self._uncounted.get(scope["path"])
        if uncounted is not None and scope["type"] == "http":
            return await uncounted(scope, receive, send)

        exchange = Exchange(scope, receive, send, self._lifecycle, self._on_stream)
        exchange.body_limit = self._body_limit
        token = current_request.set(exchange)
#% if cookiecutter.tracing == "opentelemetry"
        traced = self.tracing.begin(exchange)
#% endif
        self.last_request = exchange.began
        self.exchanges.add(exchange)
        try:
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except asyncio.CancelledError:
                if not (exchange.cause or exchange.ended):
                    raise
            except Exception as error:
                own = exchange.ended or exchange.cause or exchange.answered
                if not (own or "closed" in scope):
                    raise
                # Caused by the service: a body was too large, a stream has ended cleanly for
                # its client, or the access log and the report name what was cut off.
                log.debug("handler interrupted", path=scope["path"], error=repr(error))
            if exchange.ended or exchange.cause:
                await exchange.finish()
        finally:
            self.exchanges.discard(exchange)
            self.open_streams.discard(exchange)
            if exchange.cause or not exchange.complete or self._lifecycle.draining:
                self._count(exchange)
            seconds = time.monotonic() - exchange.began
            for done in self.on_done:
                done(exchange, seconds)
#% if cookiecutter.tracing == "opentelemetry"
            self.tracing.end(exchange, route_of)
#% endif
        # Breaks the cycle task -> context -> exchange -> task, so that no request waits for
        # the garbage collector. After an error it stays: the server still logs the
        # traceback, with the request's id.
        current_request.reset(token)
#% if cookiecutter.tracing == "opentelemetry"
        spans.detach(traced)
#% endif
        return None

    @property
    def in_flight(self) -> int:
        """How many requests are not done, including their background work; no streams."""
        return len(self.exchanges) - len(self.open_streams)

    async def keep_deadlines(self, websocket_idle: float) -> None:
        """Cancel requests whose time is over or whose client has left, until cancelled.

        WebSockets are closed after ``websocket_idle`` seconds without a message.
        """
        sweeps = [sweep_forever(self.exchanges, self.overdue_threads)]
        if websocket_idle < math.inf:
            from app.lifecycle.http.idle import IdleWebSockets  # only where it is asked for

            sweeps.append(IdleWebSockets(self.open_streams, websocket_idle).watch())
        await asyncio.gather(*sweeps)

    def refuse(self) -> None:
        """Answer new requests with 503 from now on."""
        self._app = _decline

    async def cut(self, reason: str, timeout: float) -> list[Exchange]:
        """Cancel all exchanges; return those that are not done ``timeout`` seconds later."""
        aborted = list(self.exchanges)
        for exchange in aborted:
            exchange.abort(reason)
        if aborted:
            await asyncio.wait({exchange.task for exchange in aborted}, timeout=timeout)
        return [exchange for exchange in aborted if exchange in self.exchanges]

    def _count(self, exchange: Exchange) -> None:
        # Starlette itself cancels a streaming response whose client has left.
        left = exchange.client_gone and not (exchange.complete or exchange.stream)
        if cause := exchange.cause or (exchange.left_because if left else ""):
            self.cancelled[cause] += 1
        if not self._lifecycle.draining:
            return
        if exchange.cut:
            self.requests_cut.append(exchange.name)
        elif exchange.refused:
            self.requests_refused += 1
        elif exchange.stream:
            self.streams_ended += 1
        else:
            self.requests_served += 1
        if not self.in_flight:
            self.on_idle()

    def _on_stream(self, exchange: Exchange) -> None:
        if exchange.complete:  # only its background work is left
            self.open_streams.discard(exchange)
            return
        self.open_streams.add(exchange)
        if self.on_stream is not None:
            self.on_stream(exchange)
        if self._lifecycle.draining:
            if self.on_late_stream is not None:
                self.on_late_stream(exchange)
            if not self.in_flight:
                self.on_idle()


async def _decline(_scope: Scope, _receive: Receive, _send: Send) -> None:
    exchange = current_request.get()
    assert isinstance(exchange, Exchange)  # noqa: S101
    exchange.refused = "refused"
    await exchange.decline()


class TrafficGauge:
    """Evidence for the drain, from the requests of ``traffic`` and the connections of ``server``.

    A new request wakes nobody: it only moves a deadline that the drain checks when it is
    due. So its cost does not depend on how many connections and streams are open.
    """

    def __init__(self, traffic: Traffic, server: HttpServer) -> None:
        self._traffic = traffic
        self._server = server
        self._flushing = 0
        self._rotation = Rotation()
        self._changed = asyncio.Event()
        self._idle_awaited = False
#% if cookiecutter.service_registry != "none"
        traffic.registration.on_change = self.wake
#% endif
        traffic.on_idle = self._on_idle

    def set_rotation(self, rotation: Rotation) -> None:
        """Set what is known about the endpoint; in the main thread."""
        self._rotation = self._traffic.rotation = rotation
        self.wake()

    def evidence(self, began: float) -> Evidence:
        self._changed.clear()
        in_flight = self._traffic.in_flight
        # Goes through all connections, so only where it can make a difference.
        self._flushing = 0 if in_flight else self._server.flushing()
        return Evidence(
            began=began,
            last_request=max(self._traffic.last_request, self._server.connections.newest_unused()),
            rotation=self._rotation,
            in_flight=in_flight + self._flushing,
#% if cookiecutter.service_registry != "none"
            listing=self._traffic.registration.listing(began),
#% endif
        )

    async def changed(self, timeout: float, *, idle: bool) -> None:
        self._idle_awaited = idle
        if self._flushing:
            timeout = min(timeout, POLL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()

    def _on_idle(self) -> None:
        if self._idle_awaited:
            self._changed.set()
