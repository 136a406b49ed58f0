"""``python -m benchmarks.abusers PORT COUNT``: keep COUNT slow clients connected, and say so on stdout, until killed.

A process of its own, so that the requests beside them are measured by one that has nothing else to do.
"""

import contextlib
import select
import socket
import sys
import time
from dataclasses import dataclass, field

#: Seconds between two bytes of a client that drips.
DRIP = 1.0
TICK = 0.05
GONE = select.POLLRDHUP | select.POLLHUP | select.POLLERR


@dataclass(frozen=True)
class Abuse:
    """What a client sends at first, and then every DRIP seconds. It never reads."""

    first: bytes
    again: bytes = b""


ABUSES = {
    "connects, sends nothing": Abuse(b""),
    "headers byte by byte": Abuse(b"GET /hello HTTP/1.1\r\nHost: x\r\nX: ", b"x"),
    "half a request line": Abuse(b"GET /hel"),
    "body byte by byte": Abuse(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"x"),
    "idle after a response": Abuse(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"),
    "does not read": Abuse(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n"),
}


@dataclass
class Abusers:
    """Connections, each with its abuse; ``poll`` tells which were closed."""

    _poller: "select.poll" = field(default_factory=select.poll)
    _open: dict[int, tuple[socket.socket, str, float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._open)

    def connect(self, port: int, name: str) -> int:
        """Open a connection and begin; the number that ``poll`` will name."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(ABUSES[name].first)
        client.setblocking(False)
        self._poller.register(client, GONE)
        self._open[client.fileno()] = (client, name, time.monotonic() + DRIP)
        return client.fileno()

    def poll(self) -> list[tuple[int, str]]:
        """Wait for a tick, send what is due, and forget and return those that were closed."""
        began = time.monotonic()
        closed = []
        for number, _ in self._poller.poll(0):
            client, name, _ = self._open.pop(number)
            self._poller.unregister(client)
            client.close()
            closed.append((number, name))
        for number, (client, name, due) in self._open.items():
            if ABUSES[name].again and due <= began:
                self._open[number] = (client, name, due + DRIP)
                with contextlib.suppress(OSError):  # closed meanwhile, as the next poll tells
                    client.send(ABUSES[name].again)
        time.sleep(max(0.0, began + TICK - time.monotonic()))
        return closed


def keep(port: int, count: int) -> None:
    abusers = Abusers()
    for number in range(count):
        abusers.connect(port, list(ABUSES)[number % len(ABUSES)])
        time.sleep(DRIP / count)  # so that not all send at the same moment
    print("held", flush=True)
    while True:
        for _, name in abusers.poll():
            abusers.connect(port, name)


if __name__ == "__main__":
    keep(int(sys.argv[1]), int(sys.argv[2]))
