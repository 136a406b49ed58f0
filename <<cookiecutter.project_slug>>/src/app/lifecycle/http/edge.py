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
from typing import Any

import structlog

from app.lifecycle.http.connections import (
    BODY,
    HEAD,
    Connection,
    Connections,
    Pace,
    Reason,
    reset,
)

log = structlog.get_logger(__name__)

#: Seconds between two looks. What takes its time is closed up to so much later.
PERIOD = 1.0
#: Connections that are looked at before the event loop has a turn: about 2 ms.
SLICE = 500
#: A handler needs up to a millisecond to end. So many requests are ended without a pause, and
#: so many seconds are left to others then.
AT_ONCE, PAUSE = 5, 0.005
#: ``tcpi_bytes_acked`` in Linux's ``struct tcp_info``, and bytes to read for it.
ACKED_AT, TCP_INFO_SIZE = 120, 128


class Edge:
    """Closes connections of ``connections`` that exceed its limits."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._limits = connections.limits
        self._looked = 0.0
        #: When WebSockets were found to be closing that still have something to send.
        self._closing: dict[Any, float] = {}
        #: The requests in flight, as a share of their limit; 0 without one.
        self.load: Callable[[], float] = lambda: 0.0

    async def sweep(self, now: float) -> None:
        """Close what is over its time at ``now``, on the monotonic clock.

        The event loop has a turn after every SLICE connections, and after every AT_ONCE
        that had a request.
        """
        passed, self._looked = min(now - self._looked, 2 * PERIOD), now
        used = len(self._connections.connections) / self._connections.limit
        self._connections.keep_alive.follow(used, self.load())
        before = dict(self._connections.closed)
        connections = self._connections.connections
        ended = 0
        for number, connection in enumerate(list(connections), 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            if connection not in connections:  # closed, or a WebSocket meanwhile
                continue
            if isinstance(connection, Connection):
                if self._check(connection, now, passed):
                    ended += 1
                    if ended % AT_ONCE == 0:
                        await asyncio.sleep(PAUSE)
            elif connection.transport.is_closing():
                self._check_closing(connection, now)
        self._closing = {one: since for one, since in self._closing.items() if one in connections}
        slow = {
            reason: count - before[reason]
            for reason, count in self._connections.closed.items()
            if reason != "idle" and count > before[reason]
        }
        if slow:
            log.info("closed connections of slow clients", **slow)

    def _check(self, connection: Connection, now: float, passed: float) -> bool:
        """Whether this has ended a request."""
        if connection.transport.get_write_buffer_size():
            late = not self._reads(connection, passed)
            if late:
                self._close(connection, "write")
            return late
        connection.write_pace = None
        if connection.transport.is_closing():
            return False
        if connection.reading == BODY:
            late = not self._sends(connection, now, passed)
            if late:
                connection.refuse(408, "body", "the body of the request came too slowly")
            return late
        return not connection.responding() and self._check_between_requests(connection, now)

    def _check_closing(self, websocket: Any, now: float) -> None:
        """A client that does not read would keep a WebSocket open for ever."""
        if now - self._closing.setdefault(websocket, now) > self._limits.stall_seconds:
            self._connections.closed["write"] += 1
            reset(websocket.transport)

    def _check_between_requests(self, connection: Connection, now: float) -> bool:
        waited = now - connection.since
        if connection.reading == HEAD:
            late = waited > self._limits.header_seconds
            if late:
                connection.refuse(408, "header", "the headers of the request came too slowly")
            return late
        if connection.unused():
            if waited > self._limits.header_seconds:
                self._close(connection, "silent")
        elif waited > self._connections.keep_alive.seconds:
            self._close(connection, "idle")
        return False

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
        if reason == "write":  # a clean close would wait until everything is sent
            connection.blame("slow reader")
            reset(connection.transport)
        else:
            connection.transport.close()


def _taken(connection: Connection) -> int:
    """A number that grows by each byte that the client takes."""
    if sys.platform == "linux":
        sock = connection.transport.get_extra_info("socket")
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
        if len(info) == TCP_INFO_SIZE:
            return int(struct.unpack_from("=Q", info, ACKED_AT)[0])
    # Exact as long as nothing is added, as when the handler waits for the client.
    return -connection.transport.get_write_buffer_size()
