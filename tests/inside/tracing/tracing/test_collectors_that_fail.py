"""A collector that is gone, hangs or is overloaded costs a request nothing and a stop 2 s."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.conftest import Start
from tests.tracing.collector import refusing, silent, unavailable

#: Seconds for a stop: what it takes by itself, 2 s for the flush, and a busy machine.
STOP = 0.5 + 2 + 8


@pytest.mark.parametrize("collector", [refusing, silent, unavailable])
def test_a_stop_waits_two_seconds_at_most(
    serve: Start, collector: Callable[[], AbstractContextManager[str]]
) -> None:
    with collector() as endpoint:
        # Alone, the exporter would wait for a long time.
        patient = {"OTEL_EXPORTER_OTLP_TIMEOUT": "60"}
        service = serve("tests.apps.traced", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, **patient)
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
