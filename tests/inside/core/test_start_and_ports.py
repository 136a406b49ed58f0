"""What keeps a service from starting, each with one sentence; and a stop before it has started."""

import contextlib
import json
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import HOST, PATIENCE, eventually

#: Keeps the imports from going on until a file is there.
HELD = """
import os, sys, time

class Hold:
    def find_spec(self, name, path=None, target=None):
        while name == "fastapi" and not os.path.exists(os.environ["IMPORTED"]):
            time.sleep(0.01)

sys.meta_path.insert(0, Hold())
"""
SLOW = json.dumps({"first": {}, "slow": {"needs": ["first"], "open": 60, "start_timeout": 90}})


def connected(port: int) -> socket.socket | None:
    """A connection to ``port``, if it listens."""
    with contextlib.suppress(ConnectionRefusedError):
        return socket.create_connection((HOST, port), timeout=20)
    return None


def test_it_is_started_only_when_its_components_are(start: Start) -> None:
    service = start("tests.apps.parts", PARTS='{"slow": {"open": 1}}')
    service.logged("opening")
    for probe, status in {"startupz": 503, "readyz": 503, "livez": 200}.items():
        assert service.probe(probe).status == status
    with pytest.raises(ConnectionRefusedError):
        service.get("/readyz")
    service.ready()
    assert service.probe("startupz").status == 200
    assert service.logged("phase", phase="ready")["elapsed"] >= 1


def test_a_probe_that_comes_during_the_imports_waits(start: Start, tmp_path: Path) -> None:
    """Neither refused nor answered with no: the kubelet would write an event for each."""
    (tmp_path / "sitecustomize.py").write_text(HELD)
    service = start(PYTHONPATH=str(tmp_path), IMPORTED=str(tmp_path / "imported"))
    probe = eventually(lambda: connected(service.management_port), "the management port")
    assert probe is not None
    with probe:
        probe.sendall(b"GET /startupz?wait=4 HTTP/1.0\r\n\r\n")
        assert not service.lines()
        (tmp_path / "imported").touch()
        assert probe.recv(12) == b"HTTP/1.1 200"


def test_the_startup_probe_waits_for_the_start(start: Start) -> None:
    service = start("tests.apps.parts", PARTS='{"slow": {"open": 1}}')
    service.logged("opening")
    assert service.probe("startupz?wait=4").status == 200
    assert service.probe("readyz").status == 200


def test_the_startup_probe_waits_no_longer_than_it_is_asked_to(start: Start) -> None:
    service = start("tests.apps.parts", PARTS=SLOW)
    service.logged("opening", part="slow")
    took = {}
    for asked, least in {"1": 1, "1000": 4, "-1": 0, "soon": 0, "9" * 5000: 4}.items():
        began = time.monotonic()
        assert service.probe(f"startupz?wait={asked}").status == 503
        took[asked] = time.monotonic() - began
        assert least <= took[asked] < least + 15
    assert max(took["-1"], took["soon"]) < took["1"] < took["1000"]


def test_a_signal_during_the_start_closes_what_is_open(start: Start) -> None:
    service = start("tests.apps.parts", PARTS=SLOW)
    service.logged("opening", part="slow")
    service.signal()
    assert service.ended() == 0
    assert [line["part"] for line in service.lines("closed")] == ["first"]
    assert not service.lines("phase", phase="ready")
    assert service.report["reason"] == "received SIGTERM"
    assert service.report["exit_code"] == 0


def test_the_hook_during_the_start(start: Start) -> None:
    service = start("tests.apps.parts", PARTS=SLOW)
    service.logged("opening", part="slow")
    hook = service.prestop()
    assert hook.wait(PATIENCE) == 0
    assert service.ended() == 0
    assert service.report["reason"] == "preStop hook"


@pytest.mark.parametrize("setting", ["APP_PORT", "APP_MANAGEMENT_PORT"])
def test_a_port_in_use_is_named(start: Start, setting: str) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        service = start(**{setting: str(taken.getsockname()[1])})
        assert service.ended() == 3
    (sentence,) = service.stderr.splitlines()
    assert setting in sentence
    assert service.environment[setting] in sentence


def test_a_port_that_is_taken_while_the_components_open(start: Start) -> None:
    """Bound by two, listened on by one: the other hears of it late."""
    service = start("tests.apps.parts", PARTS='{"slow": {"open": 1.5}}')
    service.logged("opening")
    with socket.socket() as rival:
        rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        rival.bind((HOST, service.port))
        rival.listen()
        assert service.ended() == 3
    (sentence,) = service.stderr.splitlines()
    assert str(service.port) in sentence
    assert [line["part"] for line in service.lines("closed")] == ["slow"]


def test_a_private_directory_stands_in_for_one_that_cannot_be_written(start: Start) -> None:
    service = start(APP_CONTROL_SOCKET="/nowhere/control.sock")
    service.ready()
    private = Path(tempfile.gettempdir()) / f"app-{os.getuid()}"
    path = private / f"{service.port}.sock"
    assert path.is_socket()
    assert private.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert service.prestop().wait(PATIENCE) == 0
    assert service.ended() == 0
    assert not path.exists()


def test_a_directory_that_others_may_enter_is_refused(start: Start) -> None:
    elsewhere = Path(tempfile.mkdtemp())
    try:
        shared = elsewhere / f"app-{os.getuid()}"
        shared.mkdir()
        shared.chmod(0o755)
        service = start(APP_CONTROL_SOCKET="/nowhere/control.sock", TMPDIR=str(elsewhere))
        assert service.ended() == 3
        (sentence,) = service.stderr.splitlines()
        assert str(shared) in sentence
        assert "only this user may enter" in sentence
        assert service.prestop().wait(PATIENCE) == 1
    finally:
        shutil.rmtree(elsewhere)


def test_a_path_too_long_for_a_socket_is_refused(start: Start) -> None:
    directory = Path(tempfile.mkdtemp(suffix="x" * 90))
    try:
        service = start(APP_CONTROL_SOCKET=str(directory / "control.sock"))
        assert service.ended() == 3
        (sentence,) = service.stderr.splitlines()
        assert "set APP_CONTROL_SOCKET to a shorter one" in sentence
    finally:
        directory.rmdir()


def test_a_socket_left_behind_is_replaced(serve: Start) -> None:
    killed = serve()
    killed.kill()
    left = killed.environment["APP_CONTROL_SOCKET"]
    assert Path(left).is_socket()
    service = serve(APP_CONTROL_SOCKET=left)
    assert service.prestop().wait(PATIENCE) == 0
    assert service.ended() == 0
    assert not Path(left).exists()


def test_a_socket_in_use_is_refused(serve: Start, start: Start) -> None:
    first = serve()
    second = start(APP_CONTROL_SOCKET=first.environment["APP_CONTROL_SOCKET"])
    assert second.ended() == 3
    (sentence,) = second.stderr.splitlines()
    assert "another service listens on the control socket" in sentence
    assert first.prestop().wait(PATIENCE) == 0


def test_the_listener_is_closed_when_it_says_so(serve: Start) -> None:
    """The component holds the stop up for as long as the test looks."""
    service = serve(
        "tests.apps.parts",
        PARTS='{"slow": {"close": "hang", "stop_timeout": 90}}',
        APP_SHUTDOWN__STOP_SECONDS="90",
        APP_SHUTDOWN__GRACE_SECONDS="150",
    )
    service.signal()
    service.logged("closing")

    def refused() -> bool:
        try:
            service.get("/readyz")
        except ConnectionError:
            return True
        return False

    eventually(refused, "the listener to close")
    assert service.probe("livez").status == 200, "the management port is open to the last"
    service.signal()
    assert service.ended() == 1
    assert service.report["cut"] == ["component slow"]
