"""The whole drill, as a process: its verdict, its exit code, its files, and nothing left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DEADLINE = 150.0
QUICK = (
    *("--replicas", "2", "--rate", "40", "--streams", "2", "--propagation", "0.5s-1s"),
    *("--set", "rollout.minReadySeconds=0", "--set", "probes.readiness.periodSeconds=1"),
    *("--set", "probes.readiness.timeoutSeconds=1"),
)


@contextmanager
def drill(*options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A drill under way, and the folder of its files."""
    folder = tempfile.mkdtemp(prefix="t-")  # short: sockets are made under it
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(
        [sys.executable, "-m", "drill", *QUICK, "--out", f"{folder}/out", *options],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": path, "TMPDIR": folder},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, Path(folder)
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(folder)


def finish(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=DEADLINE)[0]


@pytest.mark.slow
def test_beside_plain_uvicorn_the_service_passes() -> None:
    with drill("--compare", "naive", "--streams", "0") as (process, folder):
        output = finish(process)
        report = json.loads((folder / "out/report.json").read_text("utf-8"))
        page = (folder / "out/report.html").read_text("utf-8")
    assert process.returncode == 0, output
    ours, naive = report["rehearsals"]
    assert (ours["variant"], ours["passed"], ours["losses"]) == ("service", True, [])
    assert (naive["variant"], naive["passed"]) == ("naive", False)
    assert {loss["pod"] for loss in naive["losses"]} & {"a1", "a2"}
    assert re.search(r"^PASSED .*0 of [\d,]+ requests and streams lost", output, re.M), output
    assert "report.html" in output.splitlines()[-1]
    assert naive["losses"][0]["text"][:20] in page


@pytest.mark.slow
def test_a_service_that_does_not_start_is_no_loss_but_a_failed_drill() -> None:
    with drill("--env", "APP_LOG__LEVEL=loud") as (process, _):
        output = finish(process)
    assert process.returncode == 2, output
    assert re.search(r"could not run: pod a\d exited with 2 before it was ready", output), output
    assert "APP_LOG__LEVEL" in output


def test_values_that_the_chart_refuses_are_said_in_its_words() -> None:
    with drill("--set", "shutdown.marginSeconds=1") as (process, _):
        output = finish(process)
    assert process.returncode == 2, output
    assert "shutdown.marginSeconds=1" in output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_drill_ends_no_process_is_left(number: signal.Signals) -> None:
    with drill() as (process, _):
        assert process.stdout is not None
        pids = []
        for line in process.stdout:
            if started := re.search(r" started: pid (\d+)", line):
                pids.append(int(started[1]))
            if "load begins" in line:
                break
        assert len(pids) == 2
        process.send_signal(number)
        finish(process)
        eventually(lambda: not any(alive(pid) for pid in pids))


def eventually(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline, "not so within 60 s"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
