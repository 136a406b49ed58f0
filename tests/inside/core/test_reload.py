"""`make run`: what a developer sees of a change, of a mistake and of Ctrl-C."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.lifecycle.exits import Exit
from dev.reload import LOOK
from tests.harness import HOST, PROJECT, Service, eventually, running


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Service]:
    """`make run` in a copy of the source."""
    with reloader(tmp_path) as run:
        eventually(lambda: says(run, "hello"), "the first service")
        try:
            yield run
        finally:  # the service has a process group of its own, and would be left behind
            run.signal(signal.SIGTERM)
            run.ended()


@contextlib.contextmanager
def reloader(folder: Path, **settings: str) -> Iterator[Service]:
    for name in ("src", "dev"):
        shutil.copytree(PROJECT / name, folder / name)
    path = f"{folder / 'src'}:{folder}"
    with running("dev.reload", folder, PYTHONPATH=path, **settings) as run:
        yield run


def says(run: Service, message: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(json.loads(run.get("/hello").body) == {"message": message})
    return False


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "src/app/api/examples.py"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def interrupt(run: Service) -> None:
    """Ctrl-C: to every process of the terminal's group."""
    os.killpg(run.process.pid, signal.SIGINT)


def test_a_change_is_served_after_a_clean_stop(run: Service, tmp_path: Path) -> None:
    edit(tmp_path, '"message": "hello"', '"message": "changed"')
    assert run.logged("stopped")["exit_code"] == Exit.CLEAN  # asking on would keep it from ending
    eventually(lambda: says(run, "changed"), "the change")
    assert len(run.lines("stopped")) == 1


def test_a_mistake_is_shown_and_the_next_change_helps(run: Service, tmp_path: Path) -> None:
    edit(tmp_path, '"message": "hello"', '"message": "hello" oops')
    eventually(lambda: "SyntaxError" in run.stderr, "the mistake")
    with pytest.raises(subprocess.TimeoutExpired):  # it goes on watching, look after look
        run.ended(3 * LOOK / 1000)
    edit(tmp_path, '"message": "hello" oops', '"message": "fine"')
    eventually(lambda: says(run, "fine"), "the repair")


def test_ctrl_c_is_one_signal_and_cuts_nothing_off(run: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(run.get, "/slow?seconds=1")
        run.busy(1)
        interrupt(run)
        assert run.ended() == Exit.CLEAN
        assert answer.result().status == 200
    assert run.lines("hurry") == []


def test_a_second_ctrl_c_hurries_the_stop(run: Service) -> None:
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(run.get, "/slow?seconds=60")
        run.busy(1)
        interrupt(run)
        run.logged("stop")
        interrupt(run)
        assert run.ended() == Exit.CUT
        assert answer.result().status == 503


def test_a_port_that_is_taken_ends_it(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        with reloader(tmp_path, APP_PORT=port) as run:
            assert run.ended() == Exit.NOT_STARTED
            assert port in run.stderr


def test_it_ends_when_somebody_else_stops_the_service(run: Service) -> None:
    with run.prestop() as hook:
        assert hook.wait(60) == 0
    assert run.ended() == Exit.CLEAN
