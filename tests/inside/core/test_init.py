"""The image's init: it reaps what outlives its parent, and changes nothing else."""

import ast
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import PROJECT, Service, eventually

DOCKERFILE = (PROJECT / "Dockerfile").read_text("utf-8")
ENTRYPOINT: list[str] = ast.literal_eval(re.findall(r"^ENTRYPOINT (\[.*\])$", DOCKERFILE, re.M)[0])
#: A PID namespace, as a container has; it needs root or user namespaces.
NAMESPACE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]


def namespaces() -> bool:
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode
    )


pytestmark = [
    pytest.mark.skipif(not shutil.which(ENTRYPOINT[0]), reason=f"{ENTRYPOINT[0]} is not installed"),
    pytest.mark.skipif(not namespaces(), reason="no PID namespace can be made here"),
]


def contained(start: Start, app: str) -> tuple[Service, int]:
    """An application of the tests, started as by the image, and the number of its init."""
    init = ENTRYPOINT[: ENTRYPOINT.index("python")]
    service = start(app, init=[*NAMESPACE, *init])
    service.logged("phase", phase="ready")
    return service, below(service.process.pid)[0]


def below(pid: int) -> list[int]:
    """The processes below this one, parents first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [one for child in children for one in (int(child), *below(int(child)))]


def test_orphans_are_reaped(start: Start) -> None:
    service, init = contained(start, "tests.apps.processes")
    (python,) = below(init)
    for _ in range(3):
        service.get("/orphan")
    eventually(lambda: below(init) == [python], "no zombie to be left")
    os.kill(init, signal.SIGTERM)
    assert service.ended() == 0
    assert not service.lines("processes ended with the service")


def test_signals_and_exit_codes_pass(start: Start) -> None:
    service, init = contained(start, "tests.apps.requests")
    with service.connect() as connection:
        connection.ask("/slow?seconds=60")
        service.busy(1)
        os.kill(init, signal.SIGTERM)
        service.logged("stop")
        os.kill(init, signal.SIGTERM)
        assert connection.response().status == 503
    assert service.ended() == 1
    assert service.report["requests_cut"] == ["GET /slow"]


def test_the_third_signal_passes(start: Start) -> None:
    service, init = contained(start, "tests.apps.requests")
    with service.connect() as connection:
        connection.ask("/deaf?seconds=60")
        service.busy(1)
        for event in ("stop", "hurry"):
            os.kill(init, signal.SIGTERM)
            service.logged(event)
        os.kill(init, signal.SIGTERM)
        assert service.ended() == 128 + signal.SIGTERM


def test_processes_of_the_service_end_with_it_in_good_order(start: Start) -> None:
    service, init = contained(start, "tests.apps.processes")
    service.get("/start?method=shell")
    service.get("/start?method=fork")
    os.kill(init, signal.SIGTERM)
    assert service.ended() == 0
    (line,) = service.lines("processes ended with the service")
    assert len(line["ended"]) == 4
