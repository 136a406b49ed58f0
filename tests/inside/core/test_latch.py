"""One flag for coroutines of several loops and for threads."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from app.lifecycle.event import Event

PATIENCE = 40.0


def in_threads(count: int, work: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_it_wakes_coroutines_of_several_loops_and_threads() -> None:
    latch = Event()
    waiting = threading.Barrier(9)

    async def wait_in_loop() -> None:
        waiter = asyncio.create_task(latch.wait())
        await asyncio.sleep(0)
        await asyncio.to_thread(waiting.wait, PATIENCE)
        await waiter

    def wait_in_thread() -> None:
        waiting.wait(PATIENCE)
        assert latch.wait_in_thread(PATIENCE)

    threads = in_threads(4, lambda: asyncio.run(wait_in_loop()))
    threads += in_threads(4, wait_in_thread)
    waiting.wait(PATIENCE)
    latch.set()
    join(threads)
    assert latch.is_set()


def test_once_set_nobody_waits() -> None:
    latch = Event()
    latch.set()
    latch.set()
    asyncio.run(asyncio.wait_for(latch.wait(), PATIENCE))
    assert latch.wait_in_thread(0)


def test_a_thread_may_give_up() -> None:
    assert Event().wait_in_thread(0.01) is False


def test_a_coroutine_may_give_up_and_another_go_on() -> None:
    async def main() -> None:
        latch = Event()
        patient = asyncio.create_task(latch.wait())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(latch.wait(), 0.01)
        latch.set()
        await asyncio.wait_for(patient, PATIENCE)

    asyncio.run(main())


def test_a_loop_that_is_gone_does_not_matter() -> None:
    latch = Event()
    loop = asyncio.new_event_loop()
    waiter = loop.create_task(latch.wait())
    loop.run_until_complete(asyncio.sleep(0))
    waiter.cancel()
    loop.close()
    latch.set()
    assert latch.is_set()


def test_none_is_missed_in_a_race() -> None:
    for _ in range(50):
        latch = Event()
        waiters = in_threads(2, lambda latch=latch: asyncio.run(latch.wait()))  # type: ignore[misc]
        setters = in_threads(2, latch.set)
        join(waiters + setters)


def test_or_done_returns_at_the_first_of_three() -> None:
    async def main() -> None:
        latch, loop = Event(), asyncio.get_running_loop()
        endless = asyncio.create_task(asyncio.sleep(3600))
        began = loop.time()
        await latch.or_done({endless}, 0.05)
        assert loop.time() - began >= 0.05

        short = asyncio.create_task(asyncio.sleep(0.01))
        await latch.or_done({short}, 3600)
        assert short.done()
        await latch.or_done({short}, 3600)

        loop.call_later(0.01, latch.set)
        await latch.or_done({endless}, 3600)
        assert not endless.done(), "it is the caller's to cancel"
        endless.cancel()

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
