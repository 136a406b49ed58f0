"""A service that runs one example of a document, and responses that are read in pieces."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.template import surroundings
from tests.test_generated_project import free_port

#: Seconds that anything may take which has no limit of its own; the machine may be busy.
PATIENCE = 60.0


@dataclass
class Service:
    """A service with one example in it."""

    process: "subprocess.Popen[str]"
    port: int
    management_port: int
    log: Path

    def ask(self, path: str, body: object = None, method: str = "", port: int = 0) -> IO[bytes]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port or self.port}{path}",
            data,
            {"content-type": "application/json"},
            method=method or ("GET" if body is None else "POST"),
        )
        answer: IO[bytes] = urllib.request.urlopen(request, timeout=PATIENCE)  # noqa: S310
        return answer

    def text(self, path: str, body: object = None, method: str = "", port: int = 0) -> str:
        with self.ask(path, body, method, port) as answer:
            return answer.read().decode()

    def status(self) -> dict[str, object]:
        status: dict[str, object] = json.loads(self.text("/statusz", port=self.management_port))
        return status

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def did(self, what: str) -> bool:
        return f"DONE {what}" in self.log.read_text("utf-8")

    def ended_well(self) -> None:
        assert self.process.wait(PATIENCE) == 0, self.log.read_text("utf-8")


def wait_for(question: object, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not question():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


class Answer:
    """A response that is read to its end in pieces."""

    def __init__(self, service: Service, path: str, body: object = None) -> None:
        self._socket = socket.create_connection(("127.0.0.1", service.port), timeout=PATIENCE)
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.0\r\nhost: test\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        self._socket.sendall(head.encode() + data)
        self._text = b""

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def read_some(self) -> None:
        """Until something of the body has come."""
        while not self._text.partition(b"\r\n\r\n")[2]:
            self._text += self._socket.recv(4096)

    def read(self) -> str:
        """The whole body."""
        while more := self._socket.recv(65536):
            self._text += more
        head, _, body = self._text.partition(b"\r\n\r\n")
        assert b" 200 " in head, self._text
        return body.decode()


@contextlib.contextmanager
def running(project: Path, folder: Path, program: str) -> Iterator[Service]:
    (folder / "example.py").write_text(program, "utf-8")
    ports = free_port(), free_port()
    environment = {
        **{name: value for name, value in surroundings().items() if not name.startswith("APP_")},
        "APP_PORT": str(ports[0]),
        "APP_MANAGEMENT_PORT": str(ports[1]),
        "APP_CONTROL_SOCKET": str(folder / "control.sock"),
        "PYTHONPATH": str(project),
    }
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [project / ".venv/bin/python", folder / "example.py"],
            cwd=project,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
    service = Service(process, *ports, log)

    def ready() -> bool:
        assert process.poll() is None, log.read_text("utf-8")
        with contextlib.suppress(OSError):
            return service.text("/readyz", port=service.management_port) == "ok\n"
        return False

    try:
        wait_for(ready, "the service to be ready")
        yield service
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        print(log.read_text("utf-8"))  # noqa: T201
