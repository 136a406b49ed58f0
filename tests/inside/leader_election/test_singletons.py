"""Rounds of singletons, held to their time by the clock: what no process can be made to show."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager

import pytest
import uvloop

from app.lifecycle.kubernetes.leadership import Leadership
from app.lifecycle.kubernetes.singletons import CLEAN_UP
from app.lifecycle.phase import Lifecycle

Work = Callable[[], Awaitable[object]]


def on_the_loop_of_the_service(scenario: Coroutine[object, object, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario)


@asynccontextmanager
async def term(give_up: float, end: float) -> AsyncIterator[Leadership]:
    """A leadership that ends in so many seconds, unless it is renewed."""
    leadership, lifecycle = Leadership(), Lifecycle()
    leadership.start(lifecycle)
    now = time.monotonic()
    assert leadership.hold(now + give_up, now + end, term=1)
    yield leadership
    lifecycle.drain("the test is over")
    await leadership.over.wait()


async def started(leadership: Leadership, work: Work) -> "asyncio.Task[bool]":
    task = asyncio.create_task(leadership.run("work", work))
    await asyncio.sleep(0.05)
    return task


async def blocking() -> None:
    """Has its turn before that of the singleton, for it began earlier."""
    for _ in range(100):
        await asyncio.sleep(0)
    time.sleep(0.5)  # noqa: ASYNC251


def test_a_step_that_is_due_behind_one_that_blocks_is_not_made() -> None:
    """No timer gets a turn between the two: only the clock can tell."""
    steps: list[float] = []

    async def busy() -> None:
        while True:
            steps.append(time.monotonic())
            await asyncio.sleep(0)

    async def scenario() -> None:
        async with term(0.2, 0.3) as leadership:
            end = leadership.end
            ahead = asyncio.create_task(blocking())
            assert await leadership.run("work", busy) is False
            assert max(steps) < end
            assert leadership.cut == {"work": 1}
            await ahead

    on_the_loop_of_the_service(scenario())


def test_a_round_that_is_told_late_is_told_once() -> None:
    """Neither the timer that comes after the clock nor anything else cuts the clean-up short."""
    cleaned_up = False

    async def work() -> None:
        nonlocal cleaned_up
        try:
            for _ in range(10**9):
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(CLEAN_UP / 2)
            cleaned_up = True

    async def scenario() -> None:
        async with term(0.2, 0.3) as leadership:
            ahead = asyncio.create_task(blocking())
            assert await leadership.run("work", work) is False
            await ahead

    on_the_loop_of_the_service(scenario())
    assert cleaned_up


def test_a_renewal_moves_the_end() -> None:
    async def scenario() -> None:
        async with term(0.2, 0.3) as leadership:
            running = await started(leadership, lambda: asyncio.sleep(0.6, "done"))
            now = time.monotonic()
            assert leadership.hold(now + 2, now + 3, term=1)
            assert await running is True
            assert leadership.leads

    on_the_loop_of_the_service(scenario())


def test_an_answer_that_comes_too_late_is_none() -> None:
    async def scenario() -> None:
        async with term(5, 6) as leadership:
            running = await started(leadership, lambda: asyncio.sleep(60))
            assert not leadership.hold(time.monotonic() - 0.1, time.monotonic() + 1, term=2)
            assert not leadership.leads
            assert await running is False

    on_the_loop_of_the_service(scenario())


def test_nothing_runs_while_another_leads() -> None:
    ran = False

    async def work() -> None:
        nonlocal ran
        ran = True

    async def scenario() -> None:
        leadership = Leadership()
        assert await leadership.run("work", work) is True
        async with term(5, 6) as leads:
            leads.lose("another pod has it", another_leads=True)
            assert await leads.run("work", work) is True

    on_the_loop_of_the_service(scenario())
    assert not ran


def test_what_the_work_raises_and_awaits_comes_through() -> None:
    async def failing() -> None:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(60)

    async def scenario() -> None:
        async with term(5, 6) as leadership:
            with pytest.raises(TimeoutError):
                await leadership.run("work", failing)
            first, second = asyncio.Event(), asyncio.Event()

            async def pair() -> None:
                async with asyncio.TaskGroup() as group:
                    group.create_task(first.wait())
                    group.create_task(second.wait())

            running = await started(leadership, pair)
            first.set()
            second.set()
            assert await running is True
            assert leadership.cut == {}

    on_the_loop_of_the_service(scenario())


def test_its_task_may_be_cancelled_by_others() -> None:
    ended = False

    async def work() -> None:
        nonlocal ended
        try:
            await asyncio.sleep(60)
        finally:
            ended = True

    async def scenario() -> None:
        async with term(5, 6) as leadership:
            running = await started(leadership, work)
            running.cancel("the stop has no time left")
            with pytest.raises(asyncio.CancelledError):
                await running

    on_the_loop_of_the_service(scenario())
    assert ended
