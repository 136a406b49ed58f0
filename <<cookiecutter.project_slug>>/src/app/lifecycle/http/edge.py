"""Timeouts of the main port: one look a second at each open connection, no timers.

A client is closed when it says nothing, sends its headers or its body too slowly, does not
read its response, or has no more requests. What the service itself takes never counts.
WebSockets have pings instead.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from app.lifecycle.http.connections import BODY, HEAD, Connection, Connections, Pace, Reason

log = structlog.get_logger(__name__)

#: Seconds between two looks. What takes its time is closed up to so much later.
PERIOD = 1.0
#: A handler needs up to a millisecond to end. So many connections are closed without a pause,
#: and so many seconds are left to others then.
AT_ONCE, PAUSE = 5, 0.005
#: Shares of the connection limit: above BUSY idle connections are closed sooner, below CALM
#: later again. The gap between the two keeps it from going back and forth.
BUSY, CALM = 0.8, 0.6
#: ``tcpi_bytes_acked`` in Linux's ``struct tcp_info``, and bytes to read for it.
ACKED_AT, TCP_INFO_SIZE = 120, 128
#: Closing resets the connection.
NO_LINGER = struct.pack("ii", 1, 0)


class Edge:
    """Closes connections of ``connections`` that exceed its limits."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._limits = connections.limits
        self._looked = 0.0
        #: What the look has found to be over its time.
        self._due: list[Callable[[], None]] = []
        #: When WebSockets were found to be closing that still have something to send.
        self._closing: dict[Any, float] = {}
        #: Another measure of how busy the service is, from 0 to 1.
        self.load: Callable[[], float] = lambda: 0.0

    async def sweep(self, now: float) -> None:
        """Close what is over its time at ``now``, on the monotonic clock; a few at once."""
        passed, self._looked = min(now - self._looked, 2 * PERIOD), now
        self._adapt()
        before = dict(self._connections.closed)
        for connection in list(self._connections.connections):
            if isinstance(connection, Connection):
                self._check(connection, now, passed)
            elif connection.transport.is_closing():
                self._check_closing(connection, now)
        for number, close in enumerate(self._due, 1):
            close()
            if number % AT_ONCE == 0:
                await asyncio.sleep(PAUSE)
        self._due.clear()
        self._closing = {
            one: since
            for one, since in self._closing.items()
            if one in self._connections.connections
        }
        slow = {
            reason: count - before[reason]
            for reason, count in self._connections.closed.items()
            if reason != "idle" and count > before[reason]
        }
        if slow:
            log.info("closed connections of slow clients", **slow)

    def _check(self, connection: Connection, now: float, passed: float) -> None:
        if connection.transport.get_write_buffer_size():
            if not self._reads(connection, passed):
                self._due.append(partial(self._close, connection, "write"))
            return
        connection.write_pace = None
        if connection.transport.is_closing():
            return
        if connection.reading == BODY:
            if not self._sends(connection, now, passed):
                text = "the body of the request came too slowly"
                self._due.append(partial(connection.refuse, 408, "body", text))
        elif not connection.responding():
            self._check_between_requests(connection, now)

    def _check_closing(self, websocket: Any, now: float) -> None:
        """A client that does not read would keep a WebSocket open for ever."""
        if now - self._closing.setdefault(websocket, now) > self._limits.stall_seconds:
            self._connections.closed["write"] += 1
            websocket.transport.abort()

    def _check_between_requests(self, connection: Connection, now: float) -> None:
        waited = now - connection.since
        if connection.reading == HEAD:
            if waited > self._limits.header_seconds:
                text = "the headers of the request came too slowly"
                self._due.append(partial(connection.refuse, 408, "header", text))
        elif connection.unused():
            if waited > self._limits.header_seconds:
                self._close(connection, "silent")
        elif waited > self._connections.keep_alive:
            self._close(connection, "idle")

    def _sends(self, connection: Connection, now: float, passed: float) -> bool:
        """Whether the client sends the body of its request fast enough."""
        if not self._limits.least_rate:
            return True
        pace, waits = connection.body_pace, connection.waits_for_handler()
        if pace is None or pace.began != connection.since:
            late = 0.0 if waits else now - connection.since
            credit = self._limits.stall_seconds - late
            connection.body_pace = Pace(connection.since, connection.received, credit, waits)
            return True
        if waits or pace.waited:  # or for a part of this time
            passed = 0.0
        pace.waited = waits
        return self._keeps(pace, connection.received, passed)

    def _reads(self, connection: Connection, passed: float) -> bool:
        """Whether the client takes what is buffered for it fast enough."""
        if not self._limits.least_rate:
            return True
        taken = _taken(connection)
        if connection.write_pace is None:
            connection.write_pace = Pace(0.0, taken, self._limits.stall_seconds)
            return True
        return self._keeps(connection.write_pace, taken, passed)

    def _keeps(self, pace: Pace, total: int, passed: float) -> bool:
        """Whether a client that has moved ``total`` bytes is not too far behind."""
        earned = max(0, total - pace.total) / self._limits.least_rate
        pace.total = total
        pace.credit = min(self._limits.stall_seconds, pace.credit + earned - passed)
        return pace.credit > 0

    def _close(self, connection: Connection, reason: Reason) -> None:
        self._connections.closed[reason] += 1
        if reason == "write":
            # Otherwise the kernel keeps what is left, and goes on offering it to the client.
            sock = connection.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            connection.transport.abort()
        else:
            connection.transport.close()

    def _adapt(self) -> None:
        """Decide how long idle connections stay open."""
        connections, limits = self._connections, self._limits
        least, most = limits.keep_alive_least, limits.keep_alive
        if least is None:
            return
        load = max(len(connections.connections) / connections.limit, self.load())
        before = connections.keep_alive
        if load >= BUSY:
            connections.keep_alive = max(least, before / 2)
        elif load <= CALM:
            connections.keep_alive = min(most, before * 2)
        if before == most > connections.keep_alive:
            log.warning("busy: idle connections are closed sooner", load=round(load, 2))
        elif before < most == connections.keep_alive:
            log.info("calm: idle connections are kept", load=round(load, 2))


def _taken(connection: Connection) -> int:
    """A number that grows by each byte that the client takes."""
    if sys.platform == "linux":
        sock = connection.transport.get_extra_info("socket")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
        if len(info) == TCP_INFO_SIZE:
            return int(struct.unpack_from("=Q", info, ACKED_AT)[0])
    # Exact as long as nothing is added, as when the handler waits for the client.
    return -connection.transport.get_write_buffer_size()
