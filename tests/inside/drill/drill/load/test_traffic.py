"""The traffic: its mix, the connections it keeps, and which answers it calls lost."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from drill.errors import DrillError
from drill.load.client import Head
from drill.load.ledger import Kind, Ledger, Lost
from drill.load.routes import SHARES, Call, Routes
from drill.load.traffic import KEPT_RATE, KeptClient, Load, Sent, Shed, Traffic, interleave
from drill.record import Endpoint
from tests.drill.support import OK, Clock, answering, in_loop, serving

HELLO = Call("/hello")


def traffic_to(port: int) -> Traffic:
    clock, endpoint = Clock(), Endpoint("a", "127.0.0.1", port, serving=True)
    return Traffic(lambda: endpoint, Ledger(clock), clock, Routes())


def test_kinds_come_in_their_shares_and_spread() -> None:
    turn = interleave(SHARES)
    assert {kind: turn.count(kind) for kind in SHARES} == SHARES
    new = [at for at, kind in enumerate(turn) if kind is Kind.NEW]
    assert max(b - a for a, b in pairwise(new)) <= 3


@pytest.mark.parametrize("checks", [False, True], ids=["unchecked", "checked"])
def test_a_kept_connection_is_lost_to_a_close_unless_it_is_checked(checks: bool) -> None:
    async def check() -> None:
        closed = asyncio.Event()

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(OK)(reader, writer)
            writer.close()
            await writer.wait_closed()
            closed.set()

        async with serving(once) as port:
            client = KeptClient(traffic_to(port), checks=checks)
            await client.send(HELLO)
            await closed.wait()
            if checks:
                assert (await client.send(HELLO)).head.status == 200
            else:
                with pytest.raises(Lost, match="on a kept connection"):
                    await client.send(HELLO)
            client.close()

    in_loop(check())


@pytest.mark.parametrize(("kind", "connections"), [(Kind.CHECKED, 3), (Kind.KEPT, 1)])
def test_a_pool_opens_another_connection_while_one_is_in_use(kind: Kind, connections: int) -> None:
    async def check() -> None:
        opened, enough = 0, asyncio.Event()

        async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            if opened == connections:
                enough.set()
            await enough.wait()
            await answering(OK, OK, OK)(reader, writer)

        async with serving(late) as port, asyncio.TaskGroup() as tasks:
            traffic = replace(traffic_to(port), routes=Routes(HELLO, shares={kind: 1}))
            load = Load(traffic, rate=KEPT_RATE, tasks=tasks)
            requests = [asyncio.create_task(load._attempt(Sent(kind, 0.0))) for _ in range(3)]
            await asyncio.gather(*requests)
            await load.finish()
        assert (opened, len(traffic.ledger.samples)) == (connections, 3)
        assert not any(sample.lost for sample in traffic.ledger.samples)

    in_loop(check())


def test_a_kept_connection_is_reused_until_the_server_says_close() -> None:
    async def check() -> None:
        connections = 0
        bye = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

        async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await answering(OK, bye)(reader, writer)
            await reader.read()  # stays open: the client must not need the close

        async with serving(twice) as port:
            client = KeptClient(traffic_to(port), checks=False)
            for _ in range(4):
                assert (await client.send(HELLO)).body == b"ok"
            client.close()
        assert connections == 2

    in_loop(check())


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_an_answer_that_fails_the_client_is_a_loss(status: int) -> None:
    with pytest.raises(Lost, match=f"answered {status}"):
        traffic_to(1).expect_success(HELLO, status)


def test_what_a_pod_sheds_is_no_loss_where_it_must_shed() -> None:
    later = Head(503, {"retry-after": "1"})
    with pytest.raises(Lost, match="answered 503"):
        traffic_to(1).expect_answer(HELLO, later)
    beyond = replace(traffic_to(1), overloads=True)
    with pytest.raises(Shed):
        beyond.expect_answer(HELLO, later)
    with pytest.raises(Lost, match="answered 503"):
        beyond.expect_answer(HELLO, Head(503, {}))


def test_a_route_that_is_not_there_is_no_loss_but_a_mistake_of_the_drill() -> None:
    with pytest.raises(DrillError, match="GET /hello answered 404"):
        traffic_to(1).expect_success(HELLO, 404)
