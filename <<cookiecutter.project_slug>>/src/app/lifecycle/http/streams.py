"""SSE, record stream and WebSocket clients are told of the stop, not all in the same second.

A stream is taken to be one that never ends by itself, so the drain does not wait for
it, unless its handler says otherwise. Once arrivals are over each stream gets its turn,
spread evenly in random order, so that the clients do not all reconnect at once to the
pods that remain.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Iterable

import structlog

from app.lifecycle.event import Event
from app.lifecycle.http.exchange import Exchange
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.phase import Lifecycle, Phase
from app.observability.request_id import current_request

log = structlog.get_logger(__name__)

#: Seconds that a handler which waits for its turn gets to say goodbye, and that
#: any handler gets to complete a record and to return when its stream is ended.
FAREWELL = 1.0
#: Of these, what is left to return at least.
AT_LEAST = 0.1
#: Paths that the log names at most.
NAMED = 5


class Draining:
    """What a handler can know of the stop: to check, or to await.

    Nobody needs it: a stream whose handler knows nothing of the stop is ended
    cleanly all the same.
    """

    def __init__(self, exchange: Exchange | None) -> None:
        self._lifecycle = Lifecycle() if exchange is None else exchange.lifecycle
        self._turn = asyncio.Event()
        self._exchange = exchange

    def __bool__(self) -> bool:
        """Whether a stop is under way."""
        return self._lifecycle.draining

    def remaining(self) -> float:
        """Seconds until this request is cut off; infinite while no stop is under way.

        For a stream: until it is ended, as soon as that is decided, when arrivals are over.
        """
        left = self._lifecycle.until_cut()
        ends_at = None if self._exchange is None else self._exchange.ends_at
        if ends_at is None:
            return left
        until_end = max(0.0, ends_at - time.monotonic())
        return min(until_end, left) if self._lifecycle.shortened.is_set() else until_end

    async def begun(self) -> None:
        """Return as soon as a stop is under way. Readiness is false by then, but
        clients that reconnect at once may still be sent here."""
        await self._lifecycle.wait(Phase.DRAINING)

    async def turn(self) -> None:
        """Return when this stream should end; there is one second to say goodbye.

        Only for streams: for a plain request it never returns.
        """
        if self._exchange is not None:
            self._turn = self._exchange.turn = self._exchange.turn or self._turn
        await self._turn.wait()


def current_draining() -> Draining:
    """The handle of the request that this code runs for.

    Outside of a running service, as in a test of the application alone, nothing
    ever drains.
    """
    exchange = current_request.get()
    return Draining(exchange if isinstance(exchange, Exchange) else None)


def wait_for_end() -> None:
    """Let a stop wait for the response of the current request, even if it is a stream.

    For one that ends by itself. It is then cut off at the limit as any other request.
    Has an effect before the response starts only, so not in a generator.
    """
    exchange = current_request.get()
    if isinstance(exchange, Exchange):
        exchange.finite = True


async def end_streams(traffic: Traffic, *, spread: float, hurried: Event) -> None:
    """End every stream within ``spread`` seconds, at once when ``hurried``.

    The i-th of n gets its turn at ``spread * i / n``: one alone need not wait.
    """
    ends: set[asyncio.Task[None]] = set()
    of_records: list[Exchange] = []
    over = asyncio.Event()

    def ended(end: "asyncio.Task[None]") -> None:
        ends.discard(end)
        if not ends:
            over.set()

    def end_in(delay: float, stream: Exchange) -> None:
        stream.ends_at = time.monotonic() + delay
        end = asyncio.create_task(_end(stream, delay, hurried))
        ends.add(end)
        if stream.records:
            of_records.append(stream)
        end.add_done_callback(ended)

    streams = list(traffic.open_streams)
    random.shuffle(streams)
    for i, stream in enumerate(streams):
        end_in(spread * i / len(streams), stream)
    if not ends:
        return
    traffic.on_late_stream = lambda stream: end_in(random.uniform(0, FAREWELL), stream)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(spread + 2 * FAREWELL):
                await over.wait()
    finally:
        traffic.on_late_stream = None
        _name_early_ends(of_records)


def _name_early_ends(streams: Iterable[Exchange]) -> None:
    """Their clients cannot tell an early end of records from their last one."""
    early = Counter(stream.name for stream in streams if stream.records and stream.ended)
    if early:
        log.warning(
            "streams of records ended early",
            streams=early.total(),
            requests=[name for name, _ in early.most_common(NAMED)],
        )


async def _end(stream: Exchange, delay: float, hurried: Event) -> None:
    stream.mark_as_stream()
    if delay > 0:
        hurry = asyncio.ensure_future(hurried.wait())
        await asyncio.wait({hurry}, timeout=delay)
        hurry.cancel()
    if stream.complete or await stream.gone(0):
        return
    if stream.turn is not None:
        stream.ends_at = time.monotonic() + FAREWELL
        stream.turn.set()
        if await stream.gone(FAREWELL) or stream.complete:
            return
    began = time.monotonic()
    await stream.end()
    left = 0.0 if stream.torn else FAREWELL - (time.monotonic() - began)
    if await stream.gone(max(left, AT_LEAST)) or stream.complete:
        return
    if stream.told:  # what goes on is its background work, which counts as in flight
        await stream.finish()
    else:
        stream.abort("the service stops and its stream has been ended")
