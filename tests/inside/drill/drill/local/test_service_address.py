"""The Services' address: a connection goes where kube-proxy would take it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from drill.load.client import CLOSE, Connection
from drill.load.ledger import Lost
from drill.local.endpoints import EndpointTable
from drill.local.machine import HOST, SERVICES, ServiceAddress
from drill.record import Endpoint
from tests.drill.support import in_loop


@asynccontextmanager
async def pod(name: str) -> AsyncIterator[Endpoint]:
    """Answers every request with its name."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(name) + name.encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Endpoint(name, HOST, port, serving=True)


async def who_answers(address: ServiceAddress) -> str:
    connection = await Connection.open(HOST, address.port, patience=5)
    try:
        return (await connection.request("GET", "/", headers=CLOSE)).body.decode()
    finally:
        connection.close()


def test_connections_go_to_every_endpoint() -> None:
    async def check() -> None:
        async with pod("a") as a, pod("b") as b, ServiceAddress(lambda: [a, b]) as address:
            assert {await who_answers(address) for _ in range(40)} == {"a", "b"}

    in_loop(check())


def test_an_endpoint_is_left_when_the_nodes_have_applied_it_and_not_before() -> None:
    async def check() -> None:
        now = 0.0
        table = EndpointTable((2.0, 2.0), lambda: now)
        async with pod("a") as a, pod("b") as b, ServiceAddress(table.seen) as address:
            table.publish(a)
            now = 10.0
            table.remove("a")
            table.publish(b)
            now = 11.9
            assert await who_answers(address) == "a"
            now = 12.1
            assert await who_answers(address) == "b"

    in_loop(check())


def test_without_endpoints_nobody_answers() -> None:
    async def check() -> None:
        async with ServiceAddress(list) as address:
            with pytest.raises(Lost):
                await who_answers(address)

    in_loop(check())


def test_a_pod_that_refuses_is_nobody() -> None:
    async def check() -> None:
        async with pod("a") as gone:
            pass
        async with ServiceAddress(lambda: [gone]) as address:
            with pytest.raises(Lost):
                await who_answers(address)

    in_loop(check())


@pytest.mark.parametrize(
    ("services", "told"),
    [
        ("web:80", "web=127.0.0.1:{port}"),
        ("web", "web"),
        ("web:80, other", "web=127.0.0.1:{port},other"),
    ],
)
def test_pods_are_told_where_it_is(services: str, told: str) -> None:
    async def check() -> None:
        async with ServiceAddress(list) as address:
            container = {"env": [{"name": SERVICES, "value": services}]}
            assert address.variables(container) == {SERVICES: told.format(port=address.port)}
            assert address.variables({}) == {}

    in_loop(check())
