"""The service starts, or says in one sentence why it cannot."""

import socket
import subprocess
import sys

import pytest

from app.main import create_app
from app.settings import Settings
from tests.conftest import Start
from tests.harness import HOST, PROJECT, clean_environment


def test_the_service_starts_and_stops(serve: Start) -> None:
    service = serve()
    assert service.get("/openapi.json").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.report["exit_code"] == 0
    assert [line["phase"] for line in service.lines("phase")] == [
        "ready",
        "draining",
        "stopping",
        "stopped",
    ]


def test_its_routes_are_importable_without_the_lifecycle() -> None:
    """For `fastapi dev`, schemathesis and editors: ``app.asgi:app``."""
    command = [sys.executable, "-c", "from app.asgi import app; print(app.title)"]
    done = subprocess.run(
        command, cwd=PROJECT, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == create_app(Settings()).title


@pytest.mark.parametrize("setting", ["APP_PORT", "APP_MANAGEMENT_PORT"])
def test_a_port_in_use_is_named(start: Start, setting: str) -> None:
    with socket.create_server((HOST, 0)) as taken:
        service = start(**{setting: str(taken.getsockname()[1])})
        assert service.ended() == 3
    (sentence,) = service.stderr.splitlines()
    assert setting in sentence
    assert service.environment[setting] in sentence


def test_every_wrong_setting_is_named(start: Start) -> None:
    service = start(APP_LOG__LEVEL="loud", APP_SHUTDOWN__FLOR_SECONDS="1")
    assert service.ended() == 2
    assert service.stdout == ""
    unknown, wrong = service.stderr.splitlines()
    assert "APP_LOG__LEVEL='loud'" in wrong
    assert "did you mean APP_SHUTDOWN__FLOOR_SECONDS?" in unknown


def test_a_signal_before_it_has_started_ends_it(start: Start) -> None:
    service = start("tests.application")
    service.logged("opened", component="database")
    service.signal()
    assert service.ended() == 0
    assert service.lines("closed", component="database")
