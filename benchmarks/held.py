"""``python -m benchmarks.held PORT COUNT KIND``: hold connections open, and say so on stdout, until killed.

A process of its own, so that each server's clients have all the descriptors that a process may have.
"""

import asyncio
import sys
from typing import cast

HELLO = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
WEBSOCKET = (
    b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
#: What each connection sends first; a silent one never sends anything.
KINDS = {"idle": HELLO, "silent": b"", "streams": WEBSOCKET}
AT_ONCE = 100
#: The first byte of a frame, and the bit of a client's second one (RFC 6455, section 5.2); the mask is all zeros.
PING, PONG, MASKED = 0x89, 0x8A, 0x80


class Held(asyncio.Protocol):
    """A connection that has had its answer and stays."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)
        if self.request:
            self.transport.write(self.request)
        else:
            self.answered.set_result(b"")

    def data_received(self, data: bytes) -> None:
        if not self.answered.done():
            self.answered.set_result(data)
        elif data[0] == PING:
            self.transport.write(bytes((PONG, MASKED | data[1], 0, 0, 0, 0)) + data[2:])

    def connection_lost(self, exc: Exception | None) -> None:
        sys.exit("a connection was closed")


async def hold(port: int, count: int, kind: str) -> None:
    loop = asyncio.get_running_loop()
    held = []
    for first in range(0, count, AT_ONCE):
        made = [
            await loop.create_connection(lambda: Held(KINDS[kind]), "127.0.0.1", port)
            for _ in range(min(AT_ONCE, count - first))
        ]
        await asyncio.gather(*(connection.answered for _, connection in made))
        held += made
    print("held", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
