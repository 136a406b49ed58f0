"""SSE and WebSocket clients are told of the stop, and not all in the same second.

A stream never ends by itself, so the drain does not wait for it. Once arrivals
are over each stream gets its turn, spread evenly in random order, so that the
clients do not all reconnect at once to the pods that remain.
"""

import asyncio
import random
import time

from app.lifecycle.exchange import Exchange
from app.lifecycle.latch import Latch
from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.traffic import Traffic
from app.observability.request_id import current_request

#: Seconds that a handler which waits for its turn gets to say goodbye, and that
#: any handler gets to return after its stream has been ended.
FAREWELL = 1.0


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
        """Seconds until the grace period ends; infinite while no stop is under way."""
        return self._lifecycle.remaining()

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


async def end_streams(traffic: Traffic, *, spread: float, hurried: Latch) -> None:
    """End every stream within ``spread`` seconds, at once when ``hurried``.

    The i-th of n gets its turn at ``spread * i / n``: one alone need not wait.
    """
    deadline = time.monotonic() + spread + 2 * FAREWELL
    ends: dict[Exchange, asyncio.Task[None]] = {}
    while time.monotonic() < deadline:
        fresh = [stream for stream in traffic.streams() if stream not in ends]
        if not ends:
            random.shuffle(fresh)
            turns = [spread * i / len(fresh) for i in range(len(fresh))]
        else:  # came while the others were ended
            turns = [random.uniform(0, FAREWELL) for _ in fresh]
        for stream, delay in zip(fresh, turns, strict=True):
            ends[stream] = asyncio.create_task(_end(stream, delay, hurried))
        under_way = [task for task in ends.values() if not task.done()]
        if not under_way:
            return
        await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)


async def _end(stream: Exchange, delay: float, hurried: Latch) -> None:
    stream.mark_as_stream()
    if delay > 0:
        hurry = asyncio.ensure_future(hurried.wait())
        await asyncio.wait({hurry}, timeout=delay)
        hurry.cancel()
    if stream.turn is not None:
        stream.turn.set()
        if await stream.gone(FAREWELL) or stream.complete:
            return
    await stream.end()
    if await stream.gone(FAREWELL) or stream.complete:
        return
    if stream.told:  # what goes on is its background work, which counts as in flight
        await stream.finish()
    else:
        stream.abort("the service stops and its stream has been ended")
