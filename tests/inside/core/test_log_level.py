"""The level of a running service's log, changed through its control socket."""

import subprocess
import sys

import pytest

from tests.conftest import Start
from tests.harness import PROJECT, Service
from tests.test_command import command


def level(service: Service, *names: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app", "level", *names],
        cwd=PROJECT,
        env=service.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_shown_and_changed(serve: Start) -> None:
    service = serve("tests.apps.outcomes")
    assert level(service).stdout == "info\n"
    assert level(service, "debug").stdout == "debug\n"
    service.logged("log level changed", before="info", now="debug")
    # The handler of a request that was cut off is logged at this level.
    with service.connect() as connection:
        connection.ask("/slow?seconds=0", x_request_id="seen")
        assert connection.head().status == 200
    assert level(service).stdout == "debug\n"
    assert level(service, "error").stdout == "error\n"
    before = len(service.lines("phase"))
    service.signal()
    assert service.ended() == 0
    assert len(service.lines("phase")) == before, "phases are logged at info"
    assert service.report["exit_code"] == 0


@pytest.mark.parametrize("name", ["loud", "INFO", "40"])
def test_an_unknown_level_is_refused(serve: Start, name: str) -> None:
    service = serve()
    done = level(service, name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{name!r} is not a level: use debug, info, warning, error\n"
    assert level(service).stdout == "info\n"


def test_without_a_service() -> None:
    done = command("level", APP_CONTROL_SOCKET="/tmp/nobody-listens-here.sock")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("the service could not be asked: ")
