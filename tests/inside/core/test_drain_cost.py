"""What a request costs while draining does not depend on how many connections are open."""

import asyncio
import socket
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from app.lifecycle.asgi import Message, Receive, Scope, Send
from app.lifecycle.drain import DrainPolicy, Evidence, drain
from app.lifecycle.event import Event
from app.lifecycle.http.connections import Connection, Connections
from app.lifecycle.http.limits import Limits
from app.lifecycle.http.server import HttpServer
from app.lifecycle.http.traffic import Traffic, TrafficGauge
from app.lifecycle.phase import Lifecycle

HTTP: Scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
PATIENCE = 10.0


def in_loop(work: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await work

    asyncio.run(bounded())


async def received() -> Message:
    return {"type": "http.request"}


async def sent(message: Message) -> None:
    pass


class Gauge(TrafficGauge):
    """Counts how often it was read, and tells when the drain waits for requests in flight."""

    def __init__(self, traffic: Traffic) -> None:
        with socket.socket() as closed:
            super().__init__(traffic, HttpServer(traffic, closed, limit=1))
        self.read = 0
        self.waits = asyncio.Event()

    def evidence(self, began: float) -> Evidence:
        self.read += 1
        return super().evidence(began)

    async def changed(self, timeout: float, *, idle: bool) -> None:
        if idle:
            self.waits.set()
        await super().changed(timeout, idle=idle)


class Part:
    """A draining service without a network."""

    def __init__(self) -> None:
        self.lifecycle = Lifecycle()
        self.traffic = Traffic(self.answer, self.lifecycle)
        self.lifecycle.drain("test")
        self.gauge = Gauge(self.traffic)
        self.go_on = asyncio.Event()

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A stream that goes on at ``/stream``, a short answer anywhere else."""
        kind = b"text/event-stream" if scope["path"] == "/stream" else b"text/plain"
        if scope["path"] == "/stream":
            await self.go_on.wait()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
        )
        if scope["path"] == "/stream":
            await asyncio.Event().wait()
        await send({"type": "http.response.body", "body": b""})

    async def ask(self, path: str = "/") -> None:
        await self.traffic({**HTTP, "path": path}, received, sent)

    async def drained(self, policy: DrainPolicy) -> bool:
        return await drain(
            policy,
            self.gauge,
            began=time.monotonic(),
            hurried=Event(),
            on_traffic_over=lambda decided_by: None,
        )


def test_a_request_does_not_make_the_drain_look_again() -> None:
    async def main() -> None:
        part = Part()
        loop = asyncio.create_task(part.drained(DrainPolicy(floor=0.5, quiet=0.1)))
        for _ in range(500):
            await part.ask()
            await asyncio.sleep(0)
        assert await loop is False
        assert part.traffic.requests_served == 500
        assert part.gauge.read < 50

    in_loop(main())


def test_the_drain_hears_when_the_last_request_turns_out_to_be_a_stream() -> None:
    async def main() -> None:
        part = Part()
        stream = asyncio.create_task(part.ask("/stream"))
        loop = asyncio.create_task(part.drained(DrainPolicy(quiet=0.1, limit=3600)))
        await part.gauge.waits.wait()
        assert (part.traffic.in_flight, len(part.traffic.open_streams)) == (1, 0)
        part.go_on.set()
        assert await loop is False
        assert (part.traffic.in_flight, len(part.traffic.open_streams)) == (0, 1)
        stream.cancel()

    in_loop(main())


class Unused(Connection):
    """A connection without a network; counts how often it was looked at."""

    looks = 0

    def __init__(self, opened: float) -> None:
        self.opened = opened
        self.asked = False

    def unused(self) -> bool:
        Unused.looks += 1
        return not self.asked


@pytest.fixture
def connections() -> Connections:
    """A thousand unused ones, the newest of which was opened at 999."""
    found = Connections(2000, Limits())
    found.connections.update(Unused(opened) for opened in range(1000))
    Unused.looks = 0
    return found


def test_only_the_first_look_goes_through_all_connections(connections: Connections) -> None:
    assert connections.newest_unused() == 999
    assert Unused.looks < 1100
    Unused.looks = 0
    for opened in range(1000, 1100):
        newest = Unused(opened)
        connections.connections.add(newest)
        connections.add(newest)
        assert connections.newest_unused() == opened
        newest.asked = True
    assert connections.newest_unused() == 999
    assert Unused.looks < 1000


def test_the_newest_unused_one_is_found_among_those_that_asked_or_left(
    connections: Connections,
) -> None:
    every = sorted(connections.connections, key=lambda one: getattr(one, "opened", 0))
    assert connections.newest_unused() == 999
    for one in every[500:]:
        assert isinstance(one, Unused)
        one.asked = True
    assert connections.newest_unused() == 499
    for one in every[100:500]:
        assert isinstance(one, Unused)
        connections.connections.discard(one)
        connections.remove(one)
    assert connections.newest_unused() == 99
    connections.connections.clear()
    assert connections.newest_unused() == float("-inf")
