"""Slow clients: what they send, and how long each was connected."""

import asyncio
import socket
import struct
import time

import pytest

from drill.load import slow
from drill.load.ledger import Ledger, Slow
from drill.load.routes import Routes
from drill.load.slow import SlowClient, slow_clients
from drill.load.traffic import Traffic
from drill.record import Endpoint
from tests.drill.support import Handler, in_loop, serving

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


def traffic_to(port: int, routes: Routes | None = None) -> Traffic:
    endpoint = Endpoint("a", "127.0.0.1", port, serving=True)
    ledger = Ledger(time.monotonic)
    return Traffic(lambda: endpoint, ledger, time.monotonic, routes or Routes())


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow, "BYTE_SECONDS", 0.02)
    monkeypatch.setattr(slow, "ARRIVAL_SECONDS", 0.0)


def client_of(traffic: Traffic, kind: Slow) -> SlowClient:
    return SlowClient(traffic, next(way for way in slow.ways(traffic) if way.kind is kind))


async def meet(handler: Handler, kind: Slow, *, closed: bool) -> Ledger:
    """Run a client of this kind until it was closed, or for a moment."""
    async with serving(handler) as port:
        traffic = traffic_to(port)
        running = asyncio.create_task(client_of(traffic, kind).run())
        async with asyncio.timeout(20):
            while closed and not traffic.ledger.slow_closed[kind]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        running.cancel()
        await asyncio.wait([running])
    return traffic.ledger


@pytest.mark.parametrize(
    ("kind", "end"),
    [(Slow.HEADERS, b"X-Slow: xx"), (Slow.BODY, b"Content-Length: 100000\r\n\r\n  ")],
)
def test_what_it_sends_is_never_complete(kind: Slow, end: bytes) -> None:
    async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(end)
        writer.write(b"HTTP/1.1 408 -\r\n\r\n")

    async def check() -> None:
        assert (await meet(closes, kind, closed=True)).slow_closed[kind][0] < 20

    in_loop(check())


def test_a_reader_notices_a_reset_behind_what_it_has_not_read() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + bytes(1_000_000))
        await asyncio.sleep(0.1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def check() -> None:
        ledger = await meet(resets, Slow.READER, closed=True)
        assert 0.05 < ledger.slow_closed[Slow.READER][0] < 20

    in_loop(check())


@pytest.mark.parametrize("kind", Slow)
def test_one_that_nobody_closes_is_left(kind: Slow) -> None:
    async def patient(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if kind is Slow.READER:
            writer.write(HEAD + bytes(1_000_000))
        while await reader.read(100):
            pass

    async def check() -> None:
        ledger = await meet(patient, kind, closed=False)
        assert not ledger.slow_closed[kind]
        assert len(ledger.slow_left[kind]) == 1

    in_loop(check())


def test_each_kind_with_a_route_has_its_share() -> None:
    def kinds(routes: Routes) -> list[Slow]:
        return [client._way.kind for client in slow_clients(traffic_to(1, routes), 6)]

    assert kinds(Routes()) == [Slow.HEADERS, Slow.BODY, Slow.READER] * 2
    assert kinds(Routes(upload=None, download=None)) == [Slow.HEADERS] * 6
    assert kinds(Routes(plain=None, upload=None, download=None)) == []
