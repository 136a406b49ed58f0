"""Requests in flight, and what changes for them while the service drains.

A pure ASGI wrapper around the whole application. In a healthy service it keeps
a set of the exchanges under way and notes when the last one began; that is all
a request pays for. How many there are of each kind is known at any time without
looking through them.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping

import structlog

from app.lifecycle.asgi import App, Receive, Scope, Send
from app.lifecycle.http.exchange import Exchange
from app.lifecycle.phase import Lifecycle
from app.observability.request_id import current_request

log = structlog.get_logger(__name__)


class Traffic:
    """Counts what is under way through ``app``.

    ``aside`` maps paths to applications that answer them without being counted:
    probes that come as long as the pod lives would keep it from ever being quiet.
    ``on_done`` is called with each finished exchange and its seconds.
    """

    def __init__(
        self,
        app: App,
        lifecycle: Lifecycle,
        *,
        aside: Mapping[str, App] | None = None,
        on_done: Callable[[Exchange, float], None] | None = None,
    ) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._aside = dict(aside or {})
        self.on_done = on_done
        self.exchanges: set[Exchange] = set()
        #: Those of them whose clients have not seen the end of their stream.
        self.open_streams: set[Exchange] = set()
        #: Called during a stop when the last request in flight is done.
        self.on_idle: Callable[[], object] = lambda: None
        #: Called during a stop with each stream that begins.
        self.on_late_stream: Callable[[Exchange], object] | None = None
        #: Monotonic time at which the last new request began.
        self.last_request = -math.inf
        self.requests_served = 0
        #: Those that were answered 503 because they came after ``refuse``.
        self.requests_refused = 0
        self.streams_ended = 0
        self.requests_cut: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        aside = self._aside.get(scope["path"])
        if aside is not None and scope["type"] == "http":
            return await aside(scope, receive, send)

        exchange = Exchange(scope, receive, send, self._lifecycle, self._on_stream)
        token = current_request.set(exchange)
        self.last_request = exchange.began
        self.exchanges.add(exchange)
        try:
            try:
                await self._app(scope, exchange.receive, exchange.send)
            except asyncio.CancelledError:
                if not (exchange.cut or exchange.ended):
                    raise
            except Exception as error:
                if not (exchange.ended or exchange.cut):
                    raise
                # The handler did not expect its end. The client of a stream saw it end well,
                # and that a request was cut off is in the report.
                log.debug("handler interrupted", path=scope["path"], error=repr(error))
            if exchange.ended or exchange.cut:
                await exchange.finish()
        finally:
            self.exchanges.discard(exchange)
            self.open_streams.discard(exchange)
            if self._lifecycle.draining:
                self._count(exchange)
            if self.on_done is not None:
                self.on_done(exchange, time.monotonic() - exchange.began)
        # The task's context refers to the exchange and the exchange to the task: part
        # them, so that no request is left for the garbage collector. After an error the
        # server still logs its traceback, with the request's id.
        current_request.reset(token)
        return None

    @property
    def in_flight(self) -> int:
        """How many requests are not done, their background work included; no streams."""
        return len(self.exchanges) - len(self.open_streams)

    def refuse(self) -> None:
        """From now on new requests get 503."""
        self._app = _decline

    async def cut(self, reason: str, timeout: float) -> list[Exchange]:
        """Cancel what is still under way; return what ignored that for ``timeout`` seconds."""
        aborted = list(self.exchanges)
        for exchange in aborted:
            exchange.abort(reason)
        tasks = {exchange.task for exchange in aborted if exchange.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=timeout)
        return [exchange for exchange in aborted if exchange in self.exchanges]

    def _count(self, exchange: Exchange) -> None:
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
        if exchange.complete:  # what is left of it is its background work
            self.open_streams.discard(exchange)
            return
        self.open_streams.add(exchange)
        if self._lifecycle.draining:
            if self.on_late_stream is not None:
                self.on_late_stream(exchange)
            if not self.in_flight:
                self.on_idle()


async def _decline(_scope: Scope, _receive: Receive, _send: Send) -> None:
    exchange = current_request.get()
    assert isinstance(exchange, Exchange)  # noqa: S101
    exchange.refused = True
    await exchange.decline()
