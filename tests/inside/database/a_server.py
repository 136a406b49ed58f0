"""A PostgreSQL server that can be stopped, started again and frozen."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dev import postgres
from tests.harness import PATIENCE, free_port

#: What is committed survives a crash of the server.
DURABLE = ("synchronous_commit=on",)


class Server:
    """A server of its own with its data in a temporary folder."""

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._user = postgres._user()
        self._programs = postgres._programs()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if self._user:
            shutil.chown(self._folder, self._user)
        self._options = (
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            *postgres.QUICK,
            *DURABLE,
            *options,
        )
        initdb: list[str | Path] = [
            self._programs / "initdb",
            "-D",
            self._folder / "data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "-N",
        ]
        postgres._run(initdb, self._user)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it lets clients in."""
        command: list[str | Path] = [
            self._programs / "postgres",
            "-D",
            self._folder / "data",
            "-p",
            str(self.port),
        ]
        for option in self._options:
            command += ["-c", option]
        log = self._folder / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                user=self._user,
                cwd=self._folder,
                stdout=file,
                stderr=file,
                process_group=0,
            )
        postgres._wait(self._programs, self.port, self._process, log)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: end the sessions and stop; SIGQUIT: crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def freeze(self) -> None:
        """All processes stand still; the kernel goes on to accept connections."""
        for pid in self._pids():
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._pids():
            os.kill(pid, signal.SIGCONT)

    def remove(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.thaw()
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _pids(self) -> list[int]:
        """The server, then its children."""
        assert self._process is not None
        parent = self._process.pid
        children = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                    children.append(int(stat.parent.name))
        return [parent, *children]


@contextlib.contextmanager
def a_server(*options: str) -> Iterator[Server]:
    """A running server; gone at the end."""
    server = Server(*options)
    try:
        server.start()
        yield server
    finally:
        server.remove()
