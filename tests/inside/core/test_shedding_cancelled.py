"""Requests that are cancelled while they wait, or just when it is their turn."""

import asyncio
from collections.abc import Callable

import pytest

from app.lifecycle.asgi import Message, Receive, Scope, Send
from app.lifecycle.http.shedding import Shedding, SheddingRule
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.phase import Lifecycle


class World:
    """A limit of one around an application that ends when told to."""

    def __init__(self) -> None:
        self.ends = asyncio.Event()
        self.shedding = Shedding(self.app, SheddingRule(most=1, queue_seconds=30.0))
        self.traffic = Traffic(self.shedding, Lifecycle())
        self.traffic.on_stream = self.shedding.release

    async def app(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await self.ends.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(self) -> tuple["asyncio.Task[None]", list[int]]:
        statuses: list[int] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def receive() -> Message:
            return {"type": "http.request"}

        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        return asyncio.create_task(self.traffic(scope, receive, send)), statuses

    async def reach(self, running: int, queued: int) -> None:
        async with asyncio.timeout(5):
            while (self.shedding.running, self.shedding.queued) != (running, queued):  # noqa: ASYNC110
                await asyncio.sleep(0)


def leaves_at_once(_world: World, waits: "asyncio.Task[None]") -> None:
    waits.cancel()


def leaves_when_it_was_admitted(world: World, waits: "asyncio.Task[None]") -> None:
    (first,) = world.shedding._admission.running
    world.shedding.release(first)  # type: ignore[arg-type]
    assert world.shedding.queued == 0
    waits.cancel()


def is_admitted_when_it_has_left(world: World, waits: "asyncio.Task[None]") -> None:
    (first,) = world.shedding._admission.running
    waits.cancel()
    world.shedding.release(first)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "leave", [leaves_at_once, leaves_when_it_was_admitted, is_admitted_when_it_has_left]
)
def test_a_waiter_that_is_cancelled_keeps_nothing(
    leave: Callable[[World, "asyncio.Task[None]"], None],
) -> None:
    async def scenario() -> None:
        world = World()
        first, _ = world.ask()
        await world.reach(1, 0)
        waits, _ = world.ask()
        await world.reach(1, 1)
        leave(world, waits)
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert world.shedding.queued == 0
        world.ends.set()
        await first
        await world.reach(0, 0)
        assert world.traffic.in_flight == 0

    asyncio.run(scenario())


def test_a_cut_answers_those_who_wait() -> None:
    async def scenario() -> None:
        world = World()
        _, ran = world.ask()
        await world.reach(1, 0)
        _, waited = world.ask()
        await world.reach(1, 1)
        assert await world.traffic.cut("the limit", 5) == []
        assert (ran, waited) == ([503], [503])
        assert (world.shedding.running, world.shedding.queued) == (0, 0)

    asyncio.run(scenario())
