"""Requests whose time is over, or whose client has left, are cancelled and leave nothing."""

import asyncio
import random

from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.overdue import APP, LONG, SOON, ends
from tests.wire import Connection

# -- clients that leave ------------------------------------------------------------------------


def test_a_client_that_leaves_ends_its_request(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask(f"/plain?{LONG}")
        service.busy(1)
    eventually(lambda: ends(service) == {"plain: client gone": 1}, "the cancellation")
    line = service.logged("request", path="/plain")
    assert (line["status"], line["ended_by"]) == (499, "client")
    assert (
        'app_requests_cancelled_total{cause="client gone"} 1'
        in service.probe("metrics").body.decode()
    )


def test_but_not_work_that_must_finish(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask("/finishes?seconds=1")
        service.busy(1)
    eventually(lambda: ends(service) == {"plain: done": 1}, "the work")


# -- threads -----------------------------------------------------------------------------------


def test_overdue_threads_are_bounded_and_named(serve: Start) -> None:
    service = serve(APP, **SOON)
    connections = [service.connect() for _ in range(60)]
    for connection in connections:
        connection.ask("/held")
    assert {connection.response().status for connection in connections} == {504}
    status = eventually(lambda: (s := service.status())["overdue_threads"] >= 40 and s, "the count")
    assert status["overdue_threads"] <= 41
    assert any("held_thread" in line for stack in status["busy_threads"].values() for line in stack)
    assert {service.get("/held").status for _ in range(5)} == {504}
    assert service.status()["overdue_threads"] == status["overdue_threads"], "no thread for these"
    service.get("/release")
    eventually(lambda: service.status()["overdue_threads"] == 0, "the threads to end")
    assert service.get("/held").status == 200
    assert service.status()["busy_threads"] == {}


# -- all together ------------------------------------------------------------------------------


async def ask_at_random(service: Service, dice: random.Random) -> str:
    """A request of a random kind that its deadline or its client ends; what its client saw."""
    path = dice.choice(["/plain?", "/group?", "/anyio?", "/thread?", "/download?count=99&"])
    seconds = dice.choice([0.0, 0.2, 30.0]) if "thread" not in path else 0.2
    reader, writer = await asyncio.open_connection(HOST, service.port)
    wanted = dice.uniform(0.05, 0.4)
    head = f"GET {path}seconds={seconds} HTTP/1.1\r\nhost: x\r\nx-request-timeout: {wanted:.3f}"
    writer.write(f"{head}\r\n\r\n".encode())
    leaves = dice.random() < 0.4
    try:
        async with asyncio.timeout(dice.uniform(0, 0.3) if leaves else 20):
            return (await reader.readline())[9:12].decode()
    except TimeoutError:
        return "left"
    finally:
        writer.transport.abort()


def test_nothing_is_left_over_by_two_thousand_of_them(serve: Start) -> None:
    service = serve(APP, APP_LOG__ACCESS="false")
    dice = random.Random(0)

    async def all_of_them() -> list[str]:
        gate = asyncio.Semaphore(50)

        async def one() -> str:
            async with gate:
                return await ask_at_random(service, dice)

        return await asyncio.gather(*(one() for _ in range(2000)))

    seen = asyncio.run(all_of_them())
    assert set(seen) == {"200", "504", "left"}
    eventually(lambda: service.status()["in_flight"] == 0, "all requests to end")
    status = eventually(
        lambda: (s := service.status())["overdue_threads"] == 0 and s, "the threads"
    )
    assert status["tasks"] == []
    metrics = service.probe("metrics").body.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in metrics if not line.startswith("#"))
    eventually(
        lambda: "app_connections_open 0" in service.probe("metrics").body.decode(),
        "the connections",
    )
    cancelled = status["requests_cancelled"]
    assert cancelled["deadline"] >= seen.count("504")
    assert set(cancelled) == {"deadline", "client gone"}
    assert values["app_threads_overdue"] == "0"
    found = ends(service)
    assert not [name for name in found if name.endswith("failed")], found
    with Connection(HOST, service.port) as connection:
        assert connection.get("/plain?seconds=0").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.report["cut"] == []
