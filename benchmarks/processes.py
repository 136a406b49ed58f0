"""A service under measurement: a process of this machine, seen from outside."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

TICK = os.sysconf("SC_CLK_TCK")
#: Seconds for a start or a stop, at most.
PATIENCE = 60.0
SERVICE = ("-m", "app", "serve")
BARE = ("-m", "benchmarks.bare")


@dataclass
class Server:
    """One process that listens on ``port``."""

    process: subprocess.Popen[bytes]
    port: int
    #: Seconds from the start of the process to its first answer.
    start: float

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def memory(self) -> float:
        """Resident MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def stop(self) -> float:
        """Seconds from SIGTERM to the exit."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        return time.monotonic() - began


@contextmanager
def serving(
    command: tuple[str, ...],
    *,
    python: str = sys.executable,
    path: str = "",
    access: bool = False,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Server]:
    """Start ``command``, wait for its first answer, and see to its end."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        port, management = free_port(), free_port()
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("APP_", "KUBERNETES_"))
        }
        environment |= {
            "APP_HOST": "127.0.0.1",
            "APP_PORT": str(port),
            "APP_MANAGEMENT_PORT": str(management),
            "APP_CONTROL_SOCKET": f"{folder}/control.sock",
            "APP_LOG__ACCESS": "true" if access else "false",
            **settings,
        }
        if path:
            environment["PYTHONPATH"] = path
        began = time.monotonic()
        process = subprocess.Popen([python, *command], env=environment, stdout=log, stderr=log)
        try:
            while not answers(port):
                if process.poll() is not None or time.monotonic() - began > PATIENCE:
                    raise RuntimeError(f"{command} does not serve: {(Path(folder) / 'log').read_text()}")
                time.sleep(0.002)
            yield Server(process, port, time.monotonic() - began)
        finally:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
