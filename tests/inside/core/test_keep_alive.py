"""Idle connections are closed sooner under load, and kept again when it is over."""

import math
from itertools import pairwise

import pytest

from app.lifecycle.http.keep_alive import BUSY, CALM, KeepAlive
from tests.conftest import Start
from tests.harness import eventually
from tests.test_edge import PATIENT, closed

LEAST, MOST = 5.0, 80.0
#: More than the number takes from one end to the other.
LONG = 100


def seconds_after(keep_alive: KeepAlive, *shares: tuple[float, float]) -> list[float]:
    """What the number is after each step."""
    seen = []
    for connections, in_flight in shares:
        keep_alive.follow(connections, in_flight)
        seen.append(keep_alive.seconds)
    return seen


@pytest.mark.parametrize("share", [(BUSY, 0.0), (0.0, BUSY + 0.01), (5.0, 5.0)])
def test_it_falls_to_the_least_under_either_load(share: tuple[float, float]) -> None:
    seen = seconds_after(KeepAlive(LEAST, MOST), *[share] * LONG)
    assert all(later <= before for before, later in pairwise(seen))
    assert seen[-1] == LEAST


def test_it_rises_again_and_slower_than_it_falls() -> None:
    keep_alive = KeepAlive(LEAST, MOST)
    fall = seconds_after(keep_alive, *[(1.0, 0.0)] * LONG)
    rise = seconds_after(keep_alive, *[(CALM, 0.0)] * LONG)
    assert all(later >= before for before, later in pairwise(rise))
    assert rise[-1] == MOST
    assert rise.index(MOST) > fall.index(LEAST)


def test_it_stays_where_it_is_between_busy_and_calm() -> None:
    keep_alive = KeepAlive(LEAST, MOST)
    between = [(math.nextafter(BUSY, 0), 0.0), (math.nextafter(CALM, 1), 0.0)] * LONG
    assert set(seconds_after(keep_alive, *between)) == {MOST}
    keep_alive.follow(BUSY, 0.0)
    assert set(seconds_after(keep_alive, *between)) == {MOST / 2}


def test_a_moment_of_many_requests_changes_nothing() -> None:
    moments = [(0.0, 1.0), *[(0.0, 0.0)] * 9] * 9
    assert set(seconds_after(KeepAlive(LEAST, MOST), *moments)) == {MOST}


@pytest.mark.parametrize("least", [None, MOST])
def test_without_a_least_it_stays(least: float | None) -> None:
    assert set(seconds_after(KeepAlive(least, MOST), *[(1.0, 1.0)] * LONG)) == {MOST}


def test_many_connections(serve: Start) -> None:
    service = serve(
        "tests.apps.edge",
        **PATIENT | {"APP_REQUESTS__HEADER_SECONDS": "3"},
        APP_REQUESTS__MAX_CONNECTIONS="10",
        APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS="1",
    )
    few = [service.connect() for _ in range(5)]
    assert [client.get("/hello").status for client in few] == [200] * 5
    assert service.status()["keep_alive_seconds"] == 60
    more = [service.connect() for _ in range(4)]
    assert [client.get("/hello").status for client in more] == [200] * 4
    service.logged("busy: idle connections are closed sooner")
    assert service.status()["keep_alive_seconds"] < 60
    assert all(client.ends() for client in (*few, *more))
    assert closed(service, "idle") == 9
    service.logged("calm: idle connections are kept")
    assert service.status()["keep_alive_seconds"] == 60
    kept = service.connect()
    assert kept.get("/hello").status == 200
    assert service.connect().ends()  # a silent one, opened later
    assert kept.get("/hello").status == 200


def test_many_requests(serve: Start) -> None:
    service = serve(
        "tests.apps.edge",
        **PATIENT,
        APP_REQUESTS__MAX_IN_FLIGHT="1",
        APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS="1",
    )
    idle = service.connect()
    assert idle.get("/hello").status == 200
    with service.connect() as slow:
        slow.ask("/slow?seconds=60")
        service.logged("busy: idle connections are closed sooner")
        assert idle.ends()
        name = "app_keep_alive_seconds "
        lines = service.probe("metrics").body.decode().splitlines()
        value = next(line for line in lines if line.startswith(name)).removeprefix(name)
        assert float(value) < 60
    eventually(lambda: service.status()["keep_alive_seconds"] == 60, "the number to rise")
