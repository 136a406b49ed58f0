"""Slow clients: they take up connections and give the service as little as they can.

Each connects again as soon as it is closed. The service must close it by a limit of its own.
"""

import asyncio
import itertools
import random
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from drill.load.client import Connection
from drill.load.ledger import Lost, Slow
from drill.load.routes import Call
from drill.load.traffic import Traffic

#: Time between two bytes.
BYTE_SECONDS = 1.0
#: They arrive over this time, so that they are not closed and back in waves.
ARRIVAL_SECONDS = 3.0
#: Pause after a connection that was refused.
PAUSE_SECONDS = 0.5
#: A body that is announced and never complete.
OCTETS = 100_000
#: Small segments and a small buffer, so that the service's own buffers fill soon.
SEGMENT, BUFFER = 536, 4096


@dataclass(frozen=True)
class Way:
    """One way to be slow."""

    kind: Slow
    call: Call
    #: What is sent at once.
    opening: Callable[[Call], str]
    #: What is sent bit by bit; without it, the response is read byte by byte.
    byte: bytes = b""


def head(call: Call, *more: str) -> str:
    given = (f"{name}: {value}" for name, value in call.headers.items())
    return "\r\n".join((f"{call.method} {call.path} HTTP/1.1", "Host: drill", *given, *more, ""))


def half_a_head(call: Call) -> str:
    return head(call) + "X-Slow: "


def head_of_a_body(call: Call) -> str:
    return head(call, "Content-Type: application/json", f"Content-Length: {OCTETS}") + "\r\n"


def whole_head(call: Call) -> str:
    return head(call) + "\r\n"


class SlowClient:
    """Holds one connection, on one pod after another."""

    def __init__(self, traffic: Traffic, way: Way) -> None:
        self._traffic = traffic
        self._way = way

    async def run(self) -> None:
        ledger, clock, kind = self._traffic.ledger, self._traffic.clock, self._way.kind
        await asyncio.sleep(random.random() * ARRIVAL_SECONDS)
        while True:
            try:
                endpoint = self._traffic.pick()
                connection = await Connection.open(endpoint.host, endpoint.port, tune=_tune)
            except Lost:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            began = clock()
            try:
                await self._hold(connection)
            except asyncio.CancelledError:
                ledger.slow_left[kind].append(clock() - began)
                raise
            finally:
                connection.close()
            ledger.slow_closed[kind].append(clock() - began)

    async def _hold(self, connection: Connection) -> None:
        """Return when the service has closed the connection or answered it."""
        way = self._way
        with suppress(Lost):
            await connection.write(way.opening(way.call).encode())
            while True:
                await asyncio.sleep(BYTE_SECONDS)
                if way.byte:
                    if connection.stale():
                        return
                    await connection.write(way.byte)
                elif not connection.sip():
                    return


def _tune(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)


def ways(traffic: Traffic) -> Sequence[Way]:
    """Return the ways for which there is a route."""
    routes = traffic.routes
    found = []
    if routes.plain:
        found.append(Way(Slow.HEADERS, routes.plain, half_a_head, b"x"))
    if routes.upload:
        found.append(Way(Slow.BODY, routes.upload, head_of_a_body, b" "))
    if routes.download:
        found.append(Way(Slow.READER, routes.download, whole_head))
    return found


def slow_clients(traffic: Traffic, number: int) -> list[SlowClient]:
    """Return so many clients, as many of each kind as of the others."""
    turns = itertools.islice(itertools.cycle(ways(traffic)), number)
    return [SlowClient(traffic, way) for way in turns]
