"""The circuit breaker, with probes of the test's own."""

import asyncio

import pytest

from app.database.breaker import OVERDUE, Breaker
from app.database.errors import Unavailable
from tests.database.pools import eventually


async def away() -> None:
    raise ConnectionError("nobody is there")


def test_one_that_waits_alone_after_others_were_answered_is_looked_at() -> None:
    """The timer of the first runs out while the second has not waited for long."""

    async def story() -> None:
        breaker = Breaker(away)
        given_up: list[str] = []
        breaker.wait("first", lambda: given_up.append("first"))
        breaker.answered("first")
        await asyncio.sleep(OVERDUE / 2)
        breaker.wait("second", lambda: given_up.append("second"))
        await eventually(lambda: breaker.reason, "the breaker to open")
        assert given_up == ["second"]
        with pytest.raises(Unavailable):
            breaker.check()
        assert (breaker.outages, breaker.refused) == (1, 1)
        await breaker.close()

    asyncio.run(story())


def test_a_wait_that_is_answered_in_time_asks_nobody() -> None:
    probes: list[str] = []

    async def probe() -> None:
        probes.append("asked")

    async def story() -> None:
        breaker = Breaker(probe)
        breaker.wait("query", lambda: None)
        breaker.answered("query")
        await asyncio.sleep(2 * OVERDUE)
        assert probes == []
        assert not breaker.status()["outages"]
        await breaker.close()

    asyncio.run(story())
