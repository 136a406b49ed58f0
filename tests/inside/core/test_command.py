"""The commands beside ``serve``, and their exit codes."""

import subprocess
import sys
import time

import pytest

from app.environment import variables
from tests.conftest import Start
from tests.harness import HOST, PROJECT, clean_environment, eventually, free_port
from tests.service_address import Drip, listening


def command(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=PROJECT,
        env={**clean_environment(), **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("arguments", [(), ("fly",), ("serve", "now"), ("probe",), ("drain", "x")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: python -m app COMMAND")


def test_help() -> None:
    done = command("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m app COMMAND")


def test_bad_settings_keep_it_from_starting() -> None:
    done = command("serve", APP_PORT="x", APP_LOG__LEVEL="loud", APP_SHUTDOWN__FLOR_SECONDS="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 3
    assert "did you mean APP_SHUTDOWN__FLOOR_SECONDS?" in done.stderr


def test_settings_are_listed_even_when_they_are_wrong() -> None:
    done = command("settings", APP_PORT="x")
    assert (done.returncode, done.stderr) == (0, "")
    for name, _ in variables():
        assert name in done.stdout


def test_probe_of_a_service(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="15", APP_SHUTDOWN__LIMIT_SECONDS="20")
    settings = {"APP_MANAGEMENT_PORT": str(service.management_port), "APP_HOST": "127.0.0.1"}
    assert command("probe", "readyz", **settings).returncode == 0
    service.drain()
    done = command("probe", "readyz", **settings)
    assert (done.returncode, done.stdout) == (1, "draining: received SIGTERM\n")
    assert command("probe", "livez", **settings).returncode == 0


def test_probe_of_nobody() -> None:
    done = command("probe", "readyz", APP_MANAGEMENT_PORT=str(free_port()))
    assert done.returncode == 1
    assert "no answer from" in done.stderr


def test_probe_of_what_answers_a_byte_at_a_time() -> None:
    with listening(Drip, drops=b"HTTP/1.1 200 OK\r\n" * 10) as port:
        began = time.monotonic()
        done = command("probe", "readyz", APP_HOST=HOST, APP_MANAGEMENT_PORT=str(port))
        assert done.returncode == 1
        assert "timed out" in done.stderr
    assert time.monotonic() - began < 10, "the whole answer would take 16 s"


def test_probe_of_an_unknown_name() -> None:
    done = command("probe", "healthz")
    assert done.returncode == 2
    assert "livez, readyz or startupz" in done.stderr


@pytest.mark.parametrize("wrong", ["APP_PORT", "APP_MANAGEMENT_PORT"])
def test_a_wrong_port_is_a_sentence_here_too(wrong: str) -> None:
    arguments = ("drain",) if wrong == "APP_PORT" else ("probe", "livez")
    done = command(*arguments, **{wrong: "x", "APP_CONTROL_SOCKET": "/nowhere/x.sock"})
    assert done.returncode in (1, 2)
    (sentence,) = done.stderr.splitlines()
    assert wrong in sentence


def test_all_addresses_are_the_default(serve: Start) -> None:
    service = serve(APP_HOST="::")
    settings = {"APP_MANAGEMENT_PORT": str(service.management_port)}
    eventually(lambda: command("probe", "readyz", **settings).returncode == 0, "the probe")
