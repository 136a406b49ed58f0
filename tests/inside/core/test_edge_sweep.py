"""A look at many connections lets the event loop turn, and spares what changes meanwhile."""

import asyncio
import math
import time

import uvicorn

from app.lifecycle.asgi import Receive, Scope, Send
from app.lifecycle.http.connections import Connection, Connections
from app.lifecycle.http.edge import SLICE, Edge
from app.lifecycle.http.limits import Limits

LIMITS = Limits(header_seconds=10)


class Wire(asyncio.Transport):
    """A transport without a network."""

    closed = False

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def unused(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


def opened(count: int) -> tuple[Connections, list[Connection]]:
    config = uvicorn.Config(unused, http=Connection, log_config=None)
    connections = Connections(count, LIMITS)
    made = [Connection(config, connections, {}) for _ in range(count)]
    for connection in made:
        connection.connection_made(Wire())
    return connections, made


def test_the_loop_turns_after_each_slice() -> None:
    async def main() -> None:
        connections, made = opened(5 * SLICE + 1)
        sweep = asyncio.create_task(Edge(connections).sweep(time.monotonic() + 11))
        turns = 0
        while not sweep.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns >= 5
        assert all(connection.transport.is_closing() for connection in made)
        assert connections.closed["silent"] == len(made)

    asyncio.run(main())


def test_what_leaves_meanwhile_is_left_alone() -> None:
    """A connection that becomes a WebSocket keeps its transport."""

    async def main() -> None:
        connections, made = opened(3 * SLICE)
        sweep = asyncio.create_task(Edge(connections).sweep(time.monotonic() + 11))
        await asyncio.sleep(0)
        rest = [connection for connection in made if not connection.transport.is_closing()]
        for connection in rest:
            connections.connections.discard(connection)
        await sweep
        assert len(rest) >= SLICE
        assert not any(connection.transport.is_closing() for connection in rest)

    asyncio.run(main())


def test_nothing_is_closed_too_soon() -> None:
    async def main() -> None:
        connections, made = opened(10)
        await Edge(connections).sweep(math.floor(made[0].since))
        assert not any(connection.transport.is_closing() for connection in made)

    asyncio.run(main())
