"""Outside Kubernetes: what systemd is told, and the unit and compose file that fit the settings."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.systemd import notify
from tests.conftest import Start
from tests.harness import PATIENCE, PROJECT, QUICK, clean_environment, free_port
from tests.test_command import command


class Manager:
    """The socket on which systemd would listen; ``address`` is what NOTIFY_SOCKET says."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)

    def message(self, timeout: float = PATIENCE) -> dict[str, str]:
        """The next message; raises TimeoutError if none comes."""
        self.socket.settimeout(timeout)
        lines = self.socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait_for(self, name: str) -> dict[str, str]:
        deadline = time.monotonic() + PATIENCE
        while name not in (message := self.message()):
            assert time.monotonic() < deadline, f"no {name}"
        return message


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = f"@app-test-{os.getpid()}-{time.monotonic_ns()}"
    found = Manager(abstract if request.param == "abstract" else str(tmp_path / "notify"))
    yield found
    found.socket.close()


def test_it_is_told_of_every_phase(start: Start, manager: Manager) -> None:
    service = start(NOTIFY_SOCKET=manager.address, APP_SHUTDOWN__GRACE_SECONDS="40")
    assert manager.message() == {"READY": "1", "STATUS": "ready"}
    assert service.get("/hello").status == 200
    service.signal()
    draining = manager.message()
    assert (draining["STOPPING"], draining["STATUS"]) == ("1", "draining: received SIGTERM")
    assert 35e6 < int(draining["EXTEND_TIMEOUT_USEC"]) <= 40e6
    assert service.ended() == 0


def test_a_blocked_loop_gives_no_sign_of_life(start: Start, tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    service = start(
        NOTIFY_SOCKET=manager.address,
        WATCHDOG_USEC="400000",
        EXAMPLES_FAULTS="true",
        APP_PROBES__STALL_SECONDS="0.5",
    )
    manager.wait_for("READY")
    manager.wait_for("WATCHDOG")
    connection = service.connect()
    connection.ask("/block?seconds=3")
    longest, last, end = 0.0, time.monotonic(), time.monotonic() + 4.5
    while time.monotonic() < end:
        manager.wait_for("WATCHDOG")
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest > 1.5
    # A drain is no reason to be killed.
    service.connect().ask("/slow?seconds=2")
    service.busy(1)
    service.signal()
    manager.wait_for("STOPPING")
    for _ in range(3):
        manager.wait_for("WATCHDOG")
    assert service.ended() == 0
    manager.socket.close()


def test_a_watchdog_of_another_process_is_not_fed(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, fed in (("1", False), (str(os.getpid()), True)):
        variables = {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": "100000",
            "WATCHDOG_PID": pid,
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        lifecycle = Lifecycle()
        notify(lifecycle, lambda: True)
        assert not variables.keys() & os.environ.keys(), "child processes would inherit them"
        if fed:
            assert manager.message() == {"WATCHDOG": "1"}
        else:
            with pytest.raises(TimeoutError):
                manager.message(0.3)
        lifecycle.advance(Phase.STOPPED, "done")
        while "STATUS" not in manager.message():
            pass


def test_without_its_socket_the_service_serves(start: Start, tmp_path: Path) -> None:
    service = start(NOTIFY_SOCKET=str(tmp_path / "nobody")).ready()
    assert service.logged("systemd cannot be notified")["level"] == "warning"
    service.signal()
    assert service.ended() == 0


def test_nothing_of_it_is_imported_without_systemd() -> None:
    code = "import sys, app.__main__, app.main, app.wiring; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert not {"app.lifecycle.systemd", "app.unit"} & set(done.stdout.split())


# -- the unit -----------------------------------------------------------------------------


def unit(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_a_unit_has_the_times_of_the_settings(tmp_path: Path) -> None:
    settings = {
        "APP_SHUTDOWN__GRACE_SECONDS": "44.5",
        "APP_PROBES__STALL_SECONDS": "12",
        "APP_CONTROL_SOCKET": "/run/of web/100%.sock",
        "APP_KUBERNETES__CREDENTIALS": "",
        "APP_HOST": '"a\\b\n$c',
    }
    done = command("unit", "systemd", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    found = unit(done.stdout)
    assert (found["TimeoutStopSec"], found["WatchdogSec"]) == (["45"], ["12"])
    assert "APP_SHUTDOWN__GRACE_SECONDS=44.5" in found["Environment"]
    assert '"APP_CONTROL_SOCKET=/run/of web/100%%.sock"' in found["Environment"]
    assert r'''"APP_HOST=\"a\\b\n$c"''' in found["Environment"]
    assert found["RuntimeDirectory"] == ['"of web"']
    assert found["CapabilityBoundingSet"] == [""]
    if verifier := shutil.which("systemd-analyze"):
        path = tmp_path / "web.service"
        path.write_text(done.stdout)
        checked = subprocess.run(
            [verifier, "verify", str(path)], capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("path", ["/run/c", "/tmp/c", "/running/a/c"])
def test_only_a_folder_of_run_is_made(path: str) -> None:
    done = command("unit", "systemd", APP_CONTROL_SOCKET=path)
    assert "RuntimeDirectory" not in unit(done.stdout)


def test_a_unit_may_open_a_low_port_and_holds_no_secret() -> None:
    done = command("unit", "systemd", APP_PORT="80", APP_KUBERNETES__API="http://a:hidden@b")
    found = unit(done.stdout)
    assert found["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert "hidden" not in done.stdout
    assert len(found["EnvironmentFile"]) == 1
    assert "APP_KUBERNETES__API" in done.stdout


def test_what_the_unit_runs_becomes_ready(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    ports = {"APP_PORT": str(free_port()), "APP_MANAGEMENT_PORT": str(free_port())}
    done = command("unit", "systemd", APP_CONTROL_SOCKET=str(tmp_path / "c"), **ports)
    found = unit(done.stdout)
    given = dict(shlex.split(line)[0].split("=", 1) for line in found["Environment"])
    environment = {**clean_environment(), **QUICK, **given, "NOTIFY_SOCKET": manager.address}
    with manager.socket:
        process = subprocess.Popen(shlex.split(found["ExecStart"][0]), cwd="/", env=environment)
        try:
            manager.wait_for("READY")
        finally:
            process.terminate()
            assert process.wait(PATIENCE) == 0


#: https://docs.docker.com/reference/compose-file/services/
KEYS: dict[str, type] = {
    "cap_drop": list,
    "environment": dict,
    "healthcheck": dict,
    "image": str,
    "ports": list,
    "read_only": bool,
    "restart": str,
    "security_opt": list,
    "stop_grace_period": str,
    "stop_signal": str,
    "tmpfs": list,
}
CHECK = {"test", "interval", "timeout", "retries", "start_period", "start_interval"}


def test_a_compose_file_has_the_times_of_the_settings() -> None:
    settings = {
        "APP_SHUTDOWN__GRACE_SECONDS": "44.5",
        "APP_PORT": "9000",
        "APP_CONTROL_SOCKET": "/run/$x/c",
        "APP_KUBERNETES__API": "http://a:hidden@b",
    }
    done = command("unit", "compose", **settings)
    assert (done.returncode, done.stderr) == (0, "")
    ((name, service),) = yaml.safe_load(done.stdout)["services"].items()
    assert {key: type(value) for key, value in service.items()} == KEYS
    assert set(service["healthcheck"]) == CHECK
    assert service["healthcheck"]["test"][-2:] == ["probe", "readyz"]
    assert service["image"].split("/")[-1].startswith(f"{name}:")
    assert service["stop_grace_period"] == "45s"
    assert service["ports"] == ["9000:9000"]
    assert service["environment"]["APP_PORT"] == "9000"
    assert service["environment"]["APP_CONTROL_SOCKET"] == "/run/$$x/c"
    assert service["environment"]["APP_KUBERNETES__API"] is None, "taken from where compose runs"
    assert service["tmpfs"][0].startswith("/run/$$x:")
    assert yaml.safe_load(command("unit", "compose").stdout)["services"][name]["environment"] == {}


@pytest.mark.parametrize("kind", ["systemd", "compose"])
def test_wrong_settings_are_refused(kind: str) -> None:
    done = command("unit", kind, APP_PORT="x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "APP_PORT='x'" in done.stderr


def test_an_unknown_kind_is_wrong_usage() -> None:
    assert command("unit", "podman").returncode == 2
