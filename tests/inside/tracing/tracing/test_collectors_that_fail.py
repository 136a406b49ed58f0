"""A collector that is gone, hangs or is overloaded costs a request nothing and a stop 2 s."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.tracing.collector import refusing, silent, unavailable
from tests.unreachable import NO_WAIT, dropping, mute_names, nameless

#: Seconds for a stop: what it takes by itself, 2 s for the flush, and a busy machine.
STOP = 0.5 + 2 + 8


@contextlib.contextmanager
def out_of_reach() -> Iterator[str]:
    with dropping() as address:
        yield f"http://{address}"


@pytest.mark.parametrize("collector", [refusing, silent, unavailable, out_of_reach])
def test_a_stop_waits_two_seconds_at_most(
    serve: Start, collector: Callable[[], AbstractContextManager[str]]
) -> None:
    with collector() as endpoint:
        serves_and_stops(serve, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)


def test_a_collector_whose_name_nobody_resolves(serve: Start, tmp_path: Path) -> None:
    with mute_names(tmp_path) as init, nameless() as address:
        serves_and_stops(serve, init=init, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{address}")


def serves_and_stops(serve: Start, **settings: object) -> None:
    # Alone, the exporter would wait for a long time.
    began = time.monotonic()
    service = serve("tests.apps.traced", OTEL_EXPORTER_OTLP_TIMEOUT="60", **settings)
    assert time.monotonic() - began < NO_WAIT
    took = []
    with service.connect() as connection:
        for number in range(100):
            began = time.perf_counter()
            assert connection.get(f"/things/{number}").status == 200
            took.append(time.perf_counter() - began)
    assert sorted(took)[50] < 0.3
    service.signal()
    assert service.ended() == 0
    assert service.seconds() < STOP
    assert service.report["cut"] == []
    assert service.stderr == ""
    steps = [line["step"] for line in service.lines("stop")]
    assert steps[-1] == "components closed", "the flush comes after all else"


def test_a_stop_without_time_for_it_does_not_wait(serve: Start) -> None:
    with silent() as endpoint:
        service = serve(
            "tests.apps.traced",
            OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
            APP_SHUTDOWN__STOP_SECONDS="0.5",
        )
        service.get("/things/1")
        service.signal()
        assert service.ended() == 0
    warned = service.logged("traces not sent")
    closed = service.lines("stop")[-1]
    assert warned["timestamp"] > closed["timestamp"]
    assert service.report["seconds"]["stopping"] < 2
