"""Ends event streams, record streams and WebSockets during a stop, spread over time.

A stream is expected never to end by itself, so the drain does not wait for it unless
its handler asks for that. Once no new requests are expected, the streams end one by one
in random order at even intervals, so that their clients do not all reconnect at once to
the remaining pods.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable

import structlog

from app.lifecycle.event import Event
from app.lifecycle.http.exchange import Exchange
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.phase import Lifecycle, Phase
from app.observability.logging import current_request

log = structlog.get_logger(__name__)

#: Seconds that a handler gets to send its own last message, and that any handler gets to
#: complete a record and to return when its stream has ended.
STREAM_GRACE = 1.0
#: Minimum of these that is left to return.
MIN_RETURN = 0.1
#: A comment of an event stream.
HEARTBEAT = ": \n\n"
#: Maximum number of paths in the log.
MAX_NAMED = 5


class Draining:
    """The stop as a handler sees it. Optional: streams end cleanly without it, too."""

    def __init__(self, exchange: Exchange | None) -> None:
        self._lifecycle = Lifecycle() if exchange is None else exchange.lifecycle
        self._turn = asyncio.Event()
        self._exchange = exchange

    def __bool__(self) -> bool:
        """Whether a stop is in progress."""
        return self._lifecycle.draining

    def remaining(self) -> float:
        """Seconds until this request is cut off; infinite while no stop is in progress.

        For a stream: until its end, which is scheduled once no new requests are expected.
        """
        left = self._lifecycle.until_cut()
        ends_at = None if self._exchange is None else self._exchange.ends_at
        if ends_at is None:
            return left
        until_end = max(0.0, ends_at - time.monotonic())
        return min(until_end, left) if self._lifecycle.shortened.is_set() else until_end

    async def begun(self) -> None:
        """Return when a stop begins. Readiness is false by then, but clients that
        reconnect at once may still be routed to this pod."""
        await self._lifecycle.wait(Phase.DRAINING)

    async def turn(self) -> None:
        """Return when this stream should end, with one second left for a last message.

        Only for streams: it never returns for a plain request.
        """
        if self._exchange is not None:
            self._turn = self._exchange.turn = self._exchange.turn or self._turn
        await self._turn.wait()


def current_draining() -> Draining:
    """The handle for the current request; outside a running service nothing ever drains."""
    exchange = current_request.get()
    return Draining(exchange if isinstance(exchange, Exchange) else None)


def wait_for_end() -> None:
    """Let a stop wait for the current request even if its response is a stream.

    For streams that end by themselves; the limit cuts them off like any other request.
    Call it before the response starts, so not in a generator.
    """
    exchange = current_request.get()
    if isinstance(exchange, Exchange):
        exchange.finite = True


async def with_heartbeat(events: AsyncIterable[str], seconds: float) -> AsyncIterator[str]:
    """Yield ``events``, and a comment whenever they were silent for ``seconds``; 0: never.

    It keeps proxies from closing a quiet event stream; clients ignore it. For streams that
    their handler formats itself: FastAPI's EventSourceResponse and sse-starlette send their
    own. ``events`` runs in a task of its own, which ends with this iterator.
    """
    if not seconds:
        async for event in events:
            yield event
        return
    queue: asyncio.Queue[str | None] = asyncio.Queue(maxsize=1)

    async def pump() -> None:
        try:
            async for event in events:
                await queue.put(event)
        except Exception:
            await queue.put(None)
            raise
        await queue.put(None)

    pumping = asyncio.create_task(pump(), name="events")
    try:
        while True:
            try:
                async with asyncio.timeout(seconds):
                    taken = await queue.get()
            except TimeoutError:
                taken = HEARTBEAT
            if taken is None:
                break
            yield taken
        await pumping  # raises what ``events`` has raised
    finally:
        pumping.cancel()
        await asyncio.wait({pumping})


async def end_streams(traffic: Traffic, *, spread: float, hurried: Event) -> None:
    """End every stream within ``spread`` seconds, at once when ``hurried``.

    Stream i of n ends at ``spread * i / n``: a single one ends at once.
    """
    ends: set[asyncio.Task[None]] = set()
    of_records: list[Exchange] = []

    def end_in(delay: float, stream: Exchange) -> None:
        stream.ends_at = time.monotonic() + delay
        end = asyncio.create_task(_end(stream, delay, hurried))
        ends.add(end)
        end.add_done_callback(ends.discard)
        if stream.records:
            of_records.append(stream)

    streams = list(traffic.open_streams)
    random.shuffle(streams)
    for i, stream in enumerate(streams):
        end_in(spread * i / len(streams), stream)
    traffic.on_late_stream = lambda stream: end_in(random.uniform(0, STREAM_GRACE), stream)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(spread + 2 * STREAM_GRACE):
                while ends:
                    await asyncio.wait(ends)
    finally:
        traffic.on_late_stream = None
        _warn_of_early_ends(of_records)


def _warn_of_early_ends(streams: Iterable[Exchange]) -> None:
    """Log record streams that were ended: their clients take that for the regular end."""
    early = Counter(stream.name for stream in streams if stream.ended)
    if early:
        log.warning(
            "streams of records ended early",
            streams=early.total(),
            requests=[name for name, _ in early.most_common(MAX_NAMED)],
        )


async def _end(stream: Exchange, delay: float, hurried: Event) -> None:
    stream.scope["stream"] = True  # the server does not wait until its buffer is sent
    if delay > 0:
        hurry = asyncio.ensure_future(hurried.wait())
        await asyncio.wait({hurry}, timeout=delay)
        hurry.cancel()
    if stream.complete or await stream.wait_done(0):
        return
    if stream.turn is not None:
        stream.ends_at = time.monotonic() + STREAM_GRACE
        stream.turn.set()
        if await stream.wait_done(STREAM_GRACE) or stream.complete:
            return
    began = time.monotonic()
    await stream.end()
    left = 0.0 if stream.mid_record else STREAM_GRACE - (time.monotonic() - began)
    if await stream.wait_done(max(left, MIN_RETURN)) or stream.complete:
        return
    if stream.notified.is_set():  # only its background work is left, which is in flight
        await stream.finish()
    else:
        stream.abort("the service is shutting down and has ended this stream")
