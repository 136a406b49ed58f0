"""A pod at the edge starts while its database is out of reach: it serves, buffers and stops."""

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.buffer.sink import APP, post, sql, sunk
from tests.conftest import Start
from tests.harness import Service, eventually
from tests.unreachable import NO_WAIT, dropping, mute_names, nameless, refusing

Place = Callable[[], AbstractContextManager[str]]


def starts_serves_and_stops(serve: Start, address: str, **options: object) -> None:
    """As with values-edge.yaml, which lets pods be ready without a schema."""
    began = time.monotonic()
    service = serve(
        "",
        APP_DATABASE__URL=f"postgresql://web@{address}/web",
        APP_MIGRATIONS__GATING="false",
        **options,
    )
    assert time.monotonic() - began < NO_WAIT
    service.logged("database unreachable")
    refused = []
    for _ in range(20):
        began = time.monotonic()
        assert service.get("/notes").status == 503
        refused.append(time.monotonic() - began)
        assert service.get("/hello").status == 200
    assert statistics.median(refused) < 0.5, "at once"
    assert service.probe("livez").status == service.probe("readyz").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.seconds() < NO_WAIT
    assert service.report["cut"] == []


@pytest.mark.parametrize("place", [refusing, dropping])
def test_the_address(serve: Start, place: Place) -> None:
    with place() as address:
        starts_serves_and_stops(serve, address)


def test_the_name(serve: Start, tmp_path: Path) -> None:
    with mute_names(tmp_path) as init, nameless() as address:
        starts_serves_and_stops(serve, address, init=init)


@pytest.fixture
def table(database: str) -> str:
    sql(database, "CREATE TABLE sunk (batch text, n int, item json, PRIMARY KEY (batch, n))")
    return database


def test_what_pods_measure_meanwhile_arrives_once_when_it_is_back(
    serve: Start, table: str, tmp_path: Path
) -> None:
    """The first is killed and the second stopped; the third reaches the database."""

    def pod(url: str) -> Service:
        return serve(
            APP,
            APP_DATABASE__URL=url,
            FOLDER=str(tmp_path / "measured"),
            INTERVAL="0.2",
            STOP_TIMEOUT="2",
        )

    def measure(service: Service, numbers: range) -> None:
        assert {post(service, f"/items/{number}") for number in numbers} == {202}
        on_disk = f'app_buffer_items{{buffer="events",place="disk"}} {numbers.stop}'.encode()
        eventually(lambda: on_disk in service.probe("metrics").body, "all to be on disk")

    with dropping() as address:
        away = f"postgresql://web@{address}/web"
        first = pod(away)
        measure(first, range(100))
        first.kill()
        second = pod(away)
        assert second.lines("buffer found items on disk", items=100)
        measure(second, range(100, 200))
        second.signal()
        assert second.ended() == 1, "not all was delivered"
        assert second.seconds() < 2 + NO_WAIT
        assert second.lines("buffer left items on disk", items=200)
        assert not second.lines("buffer lost items")
    third = pod(table)
    eventually(lambda: len(sunk(table)) >= 200, "the replay")
    third.signal()
    assert third.ended() == 0
    assert sorted(sunk(table)) == list(range(200))
