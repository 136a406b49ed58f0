"""The whole drill, as a process: its verdict, its exit code, and nothing left behind."""

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
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
DEADLINE = 120.0

BROKEN = """
import asyncio
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

app = FastAPI()

@app.get("/readyz")
@app.get("/hello")
@app.get("/slow")
async def hello(seconds: float = 0) -> str:
    await asyncio.sleep(seconds)
    return "hello"

@app.post("/jobs")
async def jobs() -> dict[str, str]:
    return {"id": "never done"}

@app.get("/events")
async def events() -> StreamingResponse:
    async def ticks():
        while True:
            yield "data: tick\\n\\n"
            await asyncio.sleep(1)
    return StreamingResponse(ticks(), media_type="text/event-stream")

@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass
"""


@contextmanager
def drill(*options: str, cwd: Path = PROJECT) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A drill under way, and the folder for its temporary files."""
    folder = tempfile.mkdtemp(prefix="t-")  # short: sockets are made under it
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"), str(cwd))))
    process = subprocess.Popen(
        [sys.executable, "-m", "drill", *options],
        cwd=cwd,
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
def test_a_rollout_of_this_service_loses_nothing() -> None:
    with drill("--replicas", "2", "--rate", "60", "--propagation", "0.5") as (process, _):
        output = finish(process)
    assert process.returncode == 0, output
    assert re.search(r"^PASSED  0 of [\d,]+ requests and streams lost", output, re.M), output


@pytest.mark.slow
def test_a_service_that_stops_at_once_loses_requests_and_streams(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    serve = (
        f"{sys.executable} -m uvicorn broken:app --host $(APP_HOST) --port $(APP_PORT)"
        " --timeout-graceful-shutdown 1 --log-level warning"
    )
    options = ("--replicas", "2", "--rate", "60", "--propagation", "1")
    with drill(*options, "--command", serve, "--readiness", "main:/readyz", cwd=tmp_path) as (
        process,
        _,
    ):
        output = finish(process)
    assert process.returncode == 1, output
    faults = output[output.index("Faults:") :]
    assert re.search(
        r"new connections: \d+ refused by a1, \d\.\d\d to .* after its deletion", faults
    )
    assert re.search(r"SSE streams: \d+ cut off in the answer by a\d", faults), faults
    assert re.search(r"jobs: \d+ never done, accepted by a1", faults), faults
    assert re.search(r"^FAILED  [1-9]\d* of ", faults, re.M), faults


@pytest.mark.slow
def test_a_service_that_does_not_start_is_no_loss_but_a_failed_drill() -> None:
    with drill("--command", f"{sys.executable} -c 'exit(\"no database\")'") as (process, _):
        output = finish(process)
    assert process.returncode == 2, output
    assert "could not run: pod a1 exited with 1 before it was ready" in output
    assert "no database" in output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_drill_ends_no_process_is_left(number: signal.Signals) -> None:
    forever = (
        f"{sys.executable} -c 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'"
    )
    with drill("--command", forever) as (process, folder):
        pids = eventually(lambda: [int(log.read_text()) for log in folder.glob("*/1/a?.log")], 3)
        process.send_signal(number)
        finish(process)
    assert all(eventually(lambda: [not alive(pid) for pid in pids], 3))


def eventually(look: Callable[[], list[Any]], count: int) -> list[Any]:
    """Looks until there are ``count`` true values, and fails at the deadline."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            found = look()
        except ValueError:  # a log without its line yet
            found = []
        if len(found) == count and all(found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"not so within 20 s: {found}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
