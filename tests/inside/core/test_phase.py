"""The one state machine: forward only, each phase once, readable from everywhere."""

import asyncio
import math
import threading

from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle.phase import Lifecycle, Phase


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.sampled_from(Phase)))
def test_it_only_moves_forward(requests: list[Phase]) -> None:
    lifecycle = Lifecycle()
    for phase in requests:
        before = lifecycle.phase
        assert lifecycle.advance(phase, "test") is (phase > before)
        assert lifecycle.phase is max(before, phase)
        assert lifecycle.draining is (lifecycle.phase >= Phase.DRAINING)
    entered = list(lifecycle.entered)
    assert entered == sorted(entered)


def test_the_first_reason_stands() -> None:
    lifecycle = Lifecycle()
    lifecycle.advance(Phase.READY, "started")
    assert lifecycle.drain("preStop hook") is True
    assert lifecycle.drain("received SIGTERM") is False
    lifecycle.advance(Phase.STOPPING, "something else")
    assert lifecycle.reason == "preStop hook"


def test_the_deadline_is_fixed_by_the_first_request_to_stop() -> None:
    clock = Clock()
    lifecycle = Lifecycle(30, clock)
    assert lifecycle.remaining() == math.inf
    assert lifecycle.elapsed() == 0
    lifecycle.drain("test")
    clock.now += 12
    lifecycle.drain("again")
    lifecycle.advance(Phase.STOPPING, "test")
    assert lifecycle.remaining() == 18
    assert lifecycle.elapsed() == 12
    clock.now += 30
    assert lifecycle.remaining() == 0


def test_passing_a_phase_wakes_who_waits_for_it() -> None:
    lifecycle = Lifecycle()
    reached: list[bool] = []
    thread = threading.Thread(
        target=lambda: reached.append(lifecycle.wait_in_thread(Phase.READY, 10))
    )
    thread.start()
    assert lifecycle.wait_in_thread(Phase.DRAINING, 0) is False
    lifecycle.advance(Phase.STOPPING, "test")
    thread.join(10)
    assert reached == [True]
    for phase in (Phase.STARTING, Phase.READY, Phase.DRAINING, Phase.STOPPING):
        asyncio.run(asyncio.wait_for(lifecycle.wait(phase), 40))
    assert lifecycle.wait_in_thread(Phase.STOPPED, 0) is False


def test_of_many_at_once_one_wins() -> None:
    for _ in range(50):
        lifecycle = Lifecycle()
        won: list[str] = []
        barrier = threading.Barrier(4)

        def ask(
            name: str,
            lifecycle: Lifecycle = lifecycle,
            won: list[str] = won,
            barrier: threading.Barrier = barrier,
        ) -> None:
            barrier.wait(40)
            if lifecycle.drain(name):
                won.append(name)

        threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert won == [lifecycle.reason]


def test_hurry_is_said_once() -> None:
    lifecycle = Lifecycle()
    lifecycle.drain("test")
    assert not lifecycle.hurried.is_set()
    lifecycle.hurry("again")
    lifecycle.hurry("and again")
    assert lifecycle.hurried.is_set()
    assert lifecycle.reason == "test"
