"""A service as a process with ports, signals and log lines."""

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.wire import Connection, Response

PROJECT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
#: Seconds for anything without its own limit, on a busy machine.
PATIENCE = 40.0
#: Short times, so that tests are quick.
QUICK = {
    "APP_HOST": HOST,
    "APP_SHUTDOWN__QUIET_SECONDS": "0.2",
    "APP_SHUTDOWN__LIMIT_SECONDS": "10",
    "APP_SHUTDOWN__STREAM_SPREAD_SECONDS": "0.2",
    "APP_REQUESTS__TIMEOUT_SECONDS": "0",
}

_given_out: set[int] = set()
T = TypeVar("T")
Line = dict[str, Any]


def eventually(question: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """Return the first true answer; fail with ``what`` after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain for {what}"
        time.sleep(0.01)
    return answer


def end(container: "subprocess.Popen[bytes]") -> None:
    """End a process that may be an init: it passes SIGTERM on, but not SIGKILL."""
    container.terminate()
    try:
        container.wait(PATIENCE)
    finally:
        container.kill()


def free_port() -> int:
    """A free port below the ephemeral ports that was not given out before, by any xdist worker."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    while True:
        port = random.randrange(10_000 + worker, 32_000, workers)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            if port not in _given_out:
                _given_out.add(port)
                return port


def clean_environment() -> dict[str, str]:
    """The environment without variables that configure a service."""
    foreign = ("APP_", "KUBERNETES_", "POD_", "NODE_NAME")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


class Service:
    """One process under test, run in ``folder``.

    ``app`` is the module to run, such as ``tests.application``; empty means ``app serve``.
    ``init`` are words that come before the interpreter. ``stdout`` is what subprocess
    takes; given that, nothing that reads the log works.
    """

    def __init__(
        self,
        app: str = "",
        folder: Path = PROJECT,
        init: Sequence[str] = (),
        stdout: Any = None,
        **settings: str,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="app-"))
        self._closed_at_the_end = contextlib.ExitStack()
        self.port, self.management_port = free_port(), free_port()
        self.environment = {
            **clean_environment(),
            **QUICK,
            "APP_PORT": str(self.port),
            "APP_MANAGEMENT_PORT": str(self.management_port),
            "APP_CONTROL_SOCKET": str(self.directory / "control.sock"),
            **settings,
        }
        command = ["-m", app] if app else ["-m", "app", "serve"]
        self._stdout, self._stderr = self.directory / "stdout", self.directory / "stderr"
        with self._stdout.open("wb") as output, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*init, sys.executable, *command],
                cwd=folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.signalled = time.monotonic()

    # -- what it says -------------------------------------------------------------------

    @property
    def stdout(self) -> str:
        return self._stdout.read_text("utf-8", "replace")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text("utf-8", "replace")

    def lines(self, event: str = "", **fields: object) -> list[Line]:
        """All whole log lines, or those of ``event`` with these ``fields``."""
        whole = [json.loads(line) for line in self.stdout.splitlines(True) if line.endswith("\n")]
        return [
            line
            for line in whole
            if event in ("", line["event"]) and all(line.get(k) == v for k, v in fields.items())
        ]

    def logged(self, event: str, **fields: object) -> Line:
        """Wait for such a line; the first one."""
        what = f"the log line {event} {fields or ''}"
        return eventually(lambda: self.lines(event, **fields), what)[0]

    @property
    def report(self) -> Line:
        """The report of the stop, which must be the last line."""
        last = self.lines()[-1]
        assert last["event"] == "stopped", last
        return last

    # -- what it answers ----------------------------------------------------------------

    def ready(self) -> "Service":
        """Wait until /readyz says yes."""

        def answer() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}"
            with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
                return self.probe("readyz").status == 200
            return False

        eventually(answer, "/readyz to say yes")
        return self

    def probe(self, name: str, **headers: str) -> Response:
        """Ask the management port."""
        with Connection(HOST, self.management_port) as connection:
            return connection.get(f"/{name}", **headers)

    def status(self) -> Line:
        answer: Line = json.loads(self.probe("statusz").body)
        return answer

    def connect(self) -> Connection:
        """A connection of the test's own, closed at the end at the latest."""
        return self._closed_at_the_end.enter_context(Connection(HOST, self.port))

    def get(self, path: str, **headers: str) -> Response:
        """Ask on a connection of its own."""
        with self.connect() as connection:
            return connection.get(path, **headers)

    def busy(self, requests: int) -> None:
        """Wait until this many requests are in flight."""
        eventually(lambda: self.status()["in_flight"] == requests, f"{requests} in flight")

    # -- how it is stopped --------------------------------------------------------------

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.signalled = time.monotonic()
        self.process.send_signal(number)

    def drain(self) -> None:
        """SIGTERM, and wait until the main loop has heard of it."""
        self.signal()
        self.logged("stop")

    def prestop(self) -> "subprocess.Popen[str]":
        """Start the preStop hook as the kubelet would."""
        return self._closed_at_the_end.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "app", "drain"],
                cwd=PROJECT,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def ended(self, timeout: float = PATIENCE) -> int:
        """The exit code, which must come within ``timeout`` seconds."""
        return self.process.wait(timeout)

    def seconds(self) -> float:
        """Wait for the end; the seconds since the last signal."""
        self.ended()
        return time.monotonic() - self.signalled

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)

    def clean_up(self) -> None:
        self._closed_at_the_end.close()
        shutil.rmtree(self.directory)


@contextlib.contextmanager
def running(
    app: str = "",
    folder: Path = PROJECT,
    init: Sequence[str] = (),
    stdout: Any = None,
    **settings: str,
) -> Iterator[Service]:
    """A service that is gone at the end, with its log on stdout."""
    service = Service(app, folder, init, stdout, **settings)
    try:
        yield service
    finally:
        service.kill()
        # pytest shows it only where a test has failed.
        print(f"--- stdout of {app or 'serve'}\n{service.stdout}--- stderr\n{service.stderr}")
        service.clean_up()
