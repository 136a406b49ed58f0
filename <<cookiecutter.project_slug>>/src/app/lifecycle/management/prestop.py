"""``drain`` and ``probe``: the clients of the control socket and of the management port.

Standard library only: both run beside the service in its container, ``drain`` as the
preStop hook of every pod that is deleted. They must start fast and cost little.
"""

import os
import socket
import stat
import sys
import time
from collections.abc import Iterable
from pathlib import Path

#: Maximum length of a path in ``sockaddr_un`` on Linux and macOS, in bytes.
MAX_PATH = 103
#: Timeout in seconds for a probe's whole answer.
PROBE_TIMEOUT = 2.0


def control_socket(configured: str, port: int, *, create: bool = False) -> Path:
    """The path of the control socket of the service on ``port``.

    The configured path, or ``app-<user>/<port>.sock`` under the temporary directory
    where the configured directory is not writable, as on a laptop. Only this user may
    enter that directory, which ``create`` makes. Raises ValueError with one sentence as
    its message when the path is too long or the directory is not private.
    """
    path = Path(configured)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        # Not tempfile: importing it would double the cost of the hook.
        temporary = Path(os.environ.get("TMPDIR") or "/tmp")  # noqa: S108
        path = temporary / f"app-{os.getuid()}" / f"{port}.sock"
        _check_private(path.parent, create)
    if len(os.fsencode(path)) > MAX_PATH:
        raise ValueError(
            f"the path of the control socket, {path}, is longer than {MAX_PATH} bytes: "
            "set APP_CONTROL_SOCKET to a shorter one"
        )
    return path


def _check_private(directory: Path, create: bool) -> None:
    try:
        if create:
            directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
    except OSError as error:
        if not create:  # no such directory: no service runs
            return
        raise ValueError(
            f"neither the directory of APP_CONTROL_SOCKET nor {directory} is writable "
            f"({error.strerror}): set APP_CONTROL_SOCKET to a path in a writable directory"
        ) from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ValueError(
            f"{directory} is not a directory that only this user may enter: "
            "remove it or set APP_CONTROL_SOCKET to a path in a private directory"
        )


def drain() -> int:
    """Ask the service to drain and print each step; return the exit code of the hook.

    0 when the service has drained or does not run, 1 when it cut something off or exited
    before that.
    """
    try:
        path = _socket_path()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(b"drain\n")
            return _follow(connection.makefile("r", encoding="utf-8"))
        except (FileNotFoundError, ConnectionRefusedError):
            print(f"nothing to drain: no service listens on {path}")
            return 0
        except ConnectionError as error:
            print(f"the service exited before it was drained: {error}", file=sys.stderr)
            return 1


def _follow(answers: Iterable[str]) -> int:
    for line in answers:
        kind, _, text = line.rstrip("\n").partition(" ")
        if kind == "step":
            print(text, flush=True)
        elif kind == "drained":
            print(f"drained: {text}", flush=True)
            return 0
        elif kind == "cut":
            print(f"drained, but cut off: {text}", file=sys.stderr)
            return 1
    print("the service exited before it was drained", file=sys.stderr)
    return 1


def level(name: str = "") -> int:
    """Print the lowest level that is logged, after changing it to ``name`` if given."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PROBE_TIMEOUT)
            connection.connect(str(_socket_path()))
            connection.sendall(f"level {name}\n".encode())
            kind, _, text = connection.makefile("r", encoding="utf-8").readline().partition(" ")
    except (OSError, ValueError) as error:
        print(f"the service could not be asked: {error}", file=sys.stderr)
        return 1
    if kind != "level":
        print(text.strip() or "the service did not answer", file=sys.stderr)
        return 2
    print(text.strip())
    return 0


def _socket_path() -> Path:
    configured = os.environ.get("APP_CONTROL_SOCKET") or "/run/app/control.sock"
    return control_socket(configured, _port("APP_PORT", "8080"))


def probe(name: str) -> int:
    """Ask the management port; return 0 if the answer is yes, 1 if no, 2 for an unknown name."""
    if name not in ("livez", "readyz", "startupz"):
        print(f"unknown probe {name!r}: use livez, readyz or startupz", file=sys.stderr)
        return 2
    host = os.environ.get("APP_HOST") or "::"
    try:
        port = _port("APP_MANAGEMENT_PORT", "8081")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    address = "127.0.0.1" if host in ("::", "0.0.0.0") else host  # noqa: S104
    deadline = time.monotonic() + PROBE_TIMEOUT
    try:
        with socket.create_connection((address, port), timeout=PROBE_TIMEOUT) as connection:
            connection.sendall(f"GET /{name} HTTP/1.0\r\n\r\n".encode())
            head, _, body = _read_all(connection, deadline).partition("\r\n\r\n")
    except OSError as error:
        print(f"no answer from {address} port {port}: {error}", file=sys.stderr)
        return 1
    print(body.strip())
    return 0 if head.split(" ")[1:2] == ["200"] else 1


def _port(name: str, default: str) -> int:
    value = os.environ.get(name) or default
    if not value.isdecimal():
        raise ValueError(f"{name}={value!r} is not a port number")
    return int(value)


def _read_all(connection: socket.socket, deadline: float) -> str:
    """Read to the end; raise TimeoutError at ``deadline`` (monotonic)."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        connection.settimeout(left)
    return b"".join(parts).decode("utf-8", "replace")
