"""The loop around the rule: it reacts to what happens and sleeps until the rule's next date."""

import asyncio
import contextlib
import math
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from app.lifecycle.drain import DrainPolicy, Evidence, drain
from app.lifecycle.event import Event

T = TypeVar("T")


class FakeGauge:
    """Evidence that the test sets; counts how often it was asked for."""

    def __init__(self, last_request: float = -math.inf, in_flight: int = 0) -> None:
        self.last_request = last_request
        self.in_flight = in_flight
        self.asked = 0
        self._changed = asyncio.Event()

    def set(self, *, in_flight: int | None = None, last_request: float | None = None) -> None:
        self.in_flight = self.in_flight if in_flight is None else in_flight
        self.last_request = self.last_request if last_request is None else last_request
        self._changed.set()

    def evidence(self, began: float) -> Evidence:
        self.asked += 1
        self._changed.clear()
        return Evidence(began, last_request=self.last_request, in_flight=self.in_flight)

    async def changed(self, timeout: float, *, idle: bool) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()


def in_loop(work: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(60):
            return await work

    return asyncio.run(bounded())


async def run(policy: DrainPolicy, gauge: FakeGauge, hurried: Event | None = None) -> bool:
    return await drain(
        policy,
        gauge,
        began=time.monotonic(),
        hurried=hurried or Event(),
        on_traffic_over=lambda decided_by: None,
    )


def test_idle_and_quiet_ends_at_once() -> None:
    gauge = FakeGauge()
    assert in_loop(run(DrainPolicy(), gauge)) is False
    assert gauge.asked == 1


def test_it_sleeps_until_the_floor() -> None:
    gauge = FakeGauge()
    began = time.monotonic()
    assert in_loop(run(DrainPolicy(floor=0.3), gauge)) is False
    assert 0.3 <= time.monotonic() - began < 8
    assert gauge.asked <= 3, "no polling"


def test_the_end_of_a_request_wakes_it() -> None:
    async def main() -> None:
        gauge = FakeGauge(in_flight=1)
        loop = asyncio.create_task(run(DrainPolicy(limit=3600), gauge))
        await asyncio.sleep(0.05)
        assert not loop.done()
        assert gauge.asked <= 2, "no polling"
        gauge.set(in_flight=0)
        assert await loop is False

    in_loop(main())


def test_a_late_arrival_puts_the_end_off() -> None:
    async def main() -> float:
        began = time.monotonic()
        gauge = FakeGauge(last_request=began)
        loop = asyncio.create_task(run(DrainPolicy(quiet=0.4), gauge))
        await asyncio.sleep(0.2)
        gauge.set(last_request=time.monotonic())
        await loop
        return time.monotonic() - began

    assert 0.6 <= in_loop(main()) < 10


def test_the_limit_cuts_it_short() -> None:
    began = time.monotonic()
    assert in_loop(run(DrainPolicy(limit=0.2), FakeGauge(in_flight=1))) is True
    assert 0.2 <= time.monotonic() - began < 8


@pytest.mark.parametrize("before", [True, False])
def test_hurry_cuts_it_short(before: bool) -> None:
    async def main() -> bool:
        hurried = Event()
        if before:
            hurried.set()
        policy = DrainPolicy(floor=3600, limit=3600)
        loop = asyncio.create_task(run(policy, FakeGauge(in_flight=1), hurried))
        await asyncio.sleep(0.05)
        assert loop.done() is before
        hurried.set()
        return await loop

    assert in_loop(main()) is True


def test_the_end_of_arrivals_is_told_before_the_last_request_is_done() -> None:
    async def main() -> None:
        told = asyncio.Event()
        gauge = FakeGauge(in_flight=1)
        loop = asyncio.create_task(
            drain(
                DrainPolicy(floor=0.1, limit=3600),
                gauge,
                began=time.monotonic(),
                hurried=Event(),
                on_traffic_over=lambda decided_by: told.set(),
            )
        )
        await told.wait()
        assert not loop.done()
        gauge.set(in_flight=0)
        assert await loop is False

    in_loop(main())
