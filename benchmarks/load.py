"""Clients that ask as fast as they are answered, each on a connection that it keeps."""

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import uvloop

CLIENTS = 16
REQUEST = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
#: An object, or a text.
END_OF_BODY = (b"}", b'"')


@dataclass(frozen=True)
class Load:
    """What the clients saw."""

    requests: int
    seconds: float
    #: Of each request, in seconds, the shortest first.
    times: list[float]

    def percentile(self, share: float) -> float:
        return self.times[min(len(self.times) - 1, int(len(self.times) * share))]


class Client(asyncio.Protocol):
    """One request after the other until it is told to end."""

    def __init__(self, times: list[float], until: float) -> None:
        self.times, self.until = times, until
        self.done = asyncio.get_running_loop().create_future()
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.ask()

    def ask(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        if not data.endswith(END_OF_BODY):
            return
        now = time.perf_counter()
        self.times.append(now - self.sent)
        if now < self.until:
            self.ask()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


async def _run(port: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    times: list[float] = []
    began = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Client(times, began + seconds), "127.0.0.1", port) for _ in range(CLIENTS)
    ]
    await asyncio.gather(*(client.done for _, client in made))
    return Load(len(times), time.perf_counter() - began, sorted(times))


def load(port: int, seconds: float) -> Load:
    """Ask the service on ``port`` for this long."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(port, seconds))
