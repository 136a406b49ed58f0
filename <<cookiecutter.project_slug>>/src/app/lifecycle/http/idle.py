"""Closes WebSockets on which no message has gone in either direction for a time.

Only imported where that is asked for. No timer and no date for each message: a look at the
number of messages every second tells which ones were silent. Pings are no messages.
"""

import asyncio
import time
from collections.abc import Collection

from app.lifecycle.http.exchange import Exchange

#: WebSocket close code for an endpoint that goes away; Jetty and AWS's API Gateway use it
#: for idle connections. 1000 would tell the client that the conversation is complete.
GOING_AWAY = 1001
#: Seconds between two looks. A silent WebSocket is closed up to so much later.
PERIOD = 1.0
#: WebSockets that are looked at before the event loop has a turn.
SLICE = 1000
#: Seconds that a handler gets to return after the close.
GRACE = 1.0


class IdleWebSockets:
    """Those of ``streams`` that were silent for ``limit`` seconds are closed.

    A message counts when the handler receives or sends it.
    """

    def __init__(self, streams: Collection[Exchange], limit: float) -> None:
        self._streams = streams
        self._limit = limit
        #: How many messages each had when last looked at, and since when.
        self._seen: dict[Exchange, tuple[int, float]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Look every PERIOD seconds, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            for exchange in await self._silent(time.monotonic()):
                closing = asyncio.create_task(_close(exchange), name="close idle WebSocket")
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    async def _silent(self, now: float) -> list[Exchange]:
        seen, self._seen = self._seen, {}
        silent = []
        for number, exchange in enumerate(list(self._streams)):
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if exchange.scope["type"] != "websocket" or exchange.ended:
                continue
            messages, since = seen.get(exchange, (-1, now))
            if messages != exchange.messages:
                messages, since = exchange.messages, now
            self._seen[exchange] = (messages, since)
            if now - since > self._limit:
                silent.append(exchange)
        return silent


async def _close(exchange: Exchange) -> None:
    exchange.scope["closed"] = ("idle", 0)
    await exchange.end(GOING_AWAY)
    if not await exchange.wait_done(GRACE):
        exchange.cancel("idle")
