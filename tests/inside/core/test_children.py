"""Processes that a service starts: their signals are their own, and they end with it."""

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.wire import Connection

METHODS = ("fork", "spawn", "forkserver")

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="reads /proc")


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def started(service: Service, query: str) -> int:
    pid = int(service.get(f"/start?{query}").body)
    assert runs(pid)
    return pid


@pytest.mark.parametrize("method", METHODS)
def test_ending_a_child_does_not_end_the_service(serve: Start, method: str) -> None:
    service = serve("tests.apps.processes")
    for _ in range(5):
        assert service.get(f"/terminate?method={method}").body == str(-signal.SIGTERM).encode()
    pid = started(service, f"method={method}")
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not runs(pid), "the child to end by SIGTERM")
    assert service.probe("readyz").status == 200
    assert not service.lines("stop")
    service.signal()
    assert service.ended() == 0


@pytest.mark.parametrize("method", METHODS)
def test_one_interrupt_from_a_terminal_is_one(serve: Start, method: str) -> None:
    service = serve("tests.apps.processes", METHOD=method)
    with service.connect() as busy:
        assert service.get("/sum?upto=10").body == b"45"
        busy.ask("/slow")
        service.busy(1)
        os.killpg(service.process.pid, signal.SIGINT)
        assert busy.response().body == b'"done"'
    assert service.ended() == 0
    assert service.report["reason"] == "received SIGINT"
    assert not service.lines("hurry")


@pytest.mark.parametrize("query", [*(f"method={method}" for method in METHODS), "method=shell"])
def test_processes_end_with_the_service(serve: Start, query: str) -> None:
    service = serve("tests.apps.processes")
    pid = started(service, query)
    service.signal()
    assert service.ended() == 0
    assert not runs(pid)
    (line,) = service.lines("processes ended with the service")
    assert any(f"({pid})" in name for name in line["ended"])
    assert not line["killed"]
    if query == "method=shell":
        assert len([name for name in line["ended"] if name.startswith("sleep")]) == 2


def test_a_process_that_ignores_sigterm_is_killed_and_named(serve: Start) -> None:
    service = serve("tests.apps.processes")
    pid = started(service, "method=fork&deaf=true")
    eventually(lambda: ignores_sigterm(pid), "the child to ignore SIGTERM")
    service.signal()
    assert service.ended() == 1
    assert not runs(pid)
    assert service.report["cut"] == [f"process worker ({pid})"]


def ignores_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (ignored,) = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn")]
    return bool(ignored & 2 ** (signal.SIGTERM - 1))


def test_a_forked_child_keeps_neither_port_nor_connections(serve: Start, start: Start) -> None:
    service = serve("tests.apps.processes")
    with service.connect() as connection:
        pid = int(connection.get("/start?method=fork").body)
        service.process.send_signal(signal.SIGKILL)
        service.ended()
        assert connection.ends()
        assert runs(pid)
        ports = {"APP_PORT": service.port, "APP_MANAGEMENT_PORT": service.management_port}
        again = start(**{name: str(port) for name, port in ports.items()})
        again.logged("phase", phase="ready")
        with Connection(HOST, service.port) as other:
            assert other.get("/hello").status == 200
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_of_processes_serves_through_a_drain(serve: Start, method: str) -> None:
    service = serve("tests.apps.processes", METHOD=method)
    with service.connect() as connection:
        connection.ask("/slow")
        service.busy(1)
        service.signal()
        assert connection.response().status == 200
    assert service.ended() == 0
    assert not service.lines("processes ended with the service")
