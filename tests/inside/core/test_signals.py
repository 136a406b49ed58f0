"""The first signal drains, the second ends all waits, the third ends the process."""

import signal
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import Service, eventually

#: Longer than any test waits.
LONG = {
    "APP_SHUTDOWN__FLOOR_SECONDS": "120",
    "APP_SHUTDOWN__LIMIT_SECONDS": "150",
    "APP_SHUTDOWN__GRACE_SECONDS": "300",
}


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_all_waits(serve: Start, second: signal.Signals) -> None:
    service = serve(**LONG)
    service.drain()
    service.signal(second)
    assert service.ended() == 0
    assert service.report["reason"] == "received SIGTERM"
    assert service.lines("hurry", reason=f"received {second.name} again")


def test_sigint_then_sigterm(serve: Start) -> None:
    service = serve(**LONG)
    service.signal(signal.SIGINT)
    service.logged("stop")
    service.signal(signal.SIGTERM)
    assert service.ended() == 0
    assert service.report["reason"] == "received SIGINT"


def test_the_second_signal_cuts_what_is_in_flight(serve: Start) -> None:
    service = serve("tests.apps.requests")
    with service.connect() as connection:
        connection.ask("/slow?seconds=60")
        service.busy(1)
        service.drain()
        service.signal()
        assert connection.response().status == 503
    assert service.ended() == 1
    assert service.report["requests_cut"] == ["GET /slow"]


def test_the_second_signal_ends_the_spread_of_streams(serve: Start) -> None:
    service = serve("tests.apps.streams", APP_SHUTDOWN__STREAM_SPREAD_SECONDS="60")
    connections = [service.connect() for _ in range(4)]
    for connection in connections:
        connection.ask("/starlette")
        connection.head()
    service.drain()
    service.signal()
    for connection in connections:
        while connection.chunk():
            pass
    assert service.ended() == 0
    assert service.report["streams_ended"] == 4


@pytest.mark.parametrize("third", [signal.SIGTERM, signal.SIGINT])
def test_the_third_ends_the_process_at_once(serve: Start, third: signal.Signals) -> None:
    service = serve("tests.apps.requests")
    with service.connect() as connection:
        connection.ask("/deaf?seconds=60")
        service.busy(1)
        service.drain()
        service.signal()
        service.logged("hurry")
        service.signal(third)
        assert service.ended() == 128 + third


def test_the_third_ends_a_process_with_a_blocked_loop(serve: Start) -> None:
    service = serve()
    service.connect().ask("/block?seconds=60")
    service.busy(1)
    service.signal()
    service.logged("phase", phase="draining")
    service.signal()
    service.logged("hurry")
    service.signal()
    assert service.ended() == 128 + signal.SIGTERM


@pytest.mark.parametrize("how", ["compute", "block"])
def test_a_signal_is_heard_while_the_loop_computes_in_c_or_is_blocked(
    serve: Start, tmp_path: Path, how: str
) -> None:
    service = serve("tests.apps.requests", APP_SHUTDOWN__LIMIT_SECONDS="50")
    enough = tmp_path / "enough"
    with service.connect() as connection:
        connection.ask(f"/{how}?until={enough}")
        service.busy(1)
        service.signal()
        eventually(lambda: service.status()["phase"] == "draining", "the drain")
        assert service.probe("readyz").status == 503
        assert service.probe("livez").status == 200
        enough.touch()
        answer = connection.response()
        assert (answer.status, answer.closes) == (200, True)
    assert service.ended() == 0


def _handles_sigterm(service: Service) -> bool:
    """Whether the process has a handler of its own by now."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    caught = int(next(x for x in status.splitlines() if x.startswith("SigCgt")).split()[1], 16)
    return bool(caught & 2 ** (signal.SIGTERM - 1))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_signal_before_anything_is_imported(start: Start) -> None:
    service = start()
    eventually(lambda: _handles_sigterm(service), "the handler")
    service.signal()
    assert service.stdout == "", "too late to be a test of this"
    assert service.ended() == 0
    assert service.report["reason"] == "received SIGTERM"
    assert "ready" not in [line["phase"] for line in service.lines("phase")]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_question_before_anything_is_imported_changes_nothing(start: Start) -> None:
    service = start()
    eventually(lambda: _handles_sigterm(service), "the handlers")
    service.signal(signal.SIGUSR1)
    assert service.stdout == "", "too late to be a test of this"
    service.ready()
    service.signal()
    assert service.ended() == 0
