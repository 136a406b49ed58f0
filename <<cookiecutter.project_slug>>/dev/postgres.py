"""A PostgreSQL server for tests and for work on this machine.

``python -m dev.postgres COMMAND`` runs a command with APP_DATABASE__URL and
TEST_DATABASE_URL, the addresses of a server that ends with it. ``--keep FOLDER COMMAND`` keeps
the data in a folder and migrates it before; unless APP_DATABASE__URL names another server.

The server is that of TEST_DATABASE_URL, whose user may create databases, else one started
from the installed programs with its data in a temporary folder.
"""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

#: Where packages put the programs, besides the PATH.
PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
#: PostgreSQL refuses to run as root; one of these users exists on most systems.
USERS = ("postgres", "nobody")
#: Seconds for the server to start, on a busy machine.
PATIENCE = 60.0
#: What makes a server quick whose data nobody keeps.
QUICK = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")


class PostgresError(RuntimeError):
    """There is no server; the message says how to get one."""


@contextlib.contextmanager
def server(*options: str, port: int = 0) -> Iterator[str]:
    """Yield the URL of a server; ``options`` like ``max_connections=20`` start one of its own.

    Raises PostgresError.
    """
    if (given := os.environ.get("TEST_DATABASE_URL")) and not options:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        with _running(folder, port, (*QUICK, *options)) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[str]:
    """Yield the URL of a server whose data is in ``folder``; one that runs there is used.

    Raises PostgresError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    running = folder / "data" / "postmaster.pid"
    lines = running.read_text("utf-8").splitlines() if running.exists() else []
    port = lines[3] if len(lines) > 3 else ""
    ready: list[str | Path] = [_programs() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", port]
    if port and subprocess.run(ready).returncode == 0:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        return
    with _running(folder, 0, ()) as url:
        yield url


@contextlib.contextmanager
def _running(folder: Path, port: int, options: tuple[str, ...]) -> Iterator[str]:
    programs = _programs()
    user = _user()
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        _run([programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"], user)
    port = port or _free_port()
    settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", *options)
    command: list[str | Path] = [programs / "postgres", "-D", data, "-p", str(port)]
    for setting in settings:
        command += ["-c", setting]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, user=user, cwd=folder, stdout=log, stderr=log, process_group=0
        )
    try:
        _wait(programs, port, process, folder / "log")
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)  # ends the sessions and itself
        process.wait(PATIENCE)


@contextlib.contextmanager
def database(url: str, template: str = "template0") -> Iterator[str]:
    """Create a database on the server of ``url``, yield its URL, drop it.

    ``template`` is the name or URL of the one to copy, to which nobody may be connected.
    """
    name = f"test_{uuid.uuid4().hex[:12]}"
    original = template.rpartition("/")[2]
    query(url, f'CREATE DATABASE "{name}" TEMPLATE "{original}"')
    try:
        yield urlsplit(url)._replace(path=f"/{name}").geturl()
    finally:
        query(url, f'DROP DATABASE "{name}" WITH (FORCE)')


def query(url: str, sql: str) -> list[list[str]]:
    """Run one statement and return its rows as text. Raises PostgresError."""
    options = ["-X", "-q", "-A", "-t", "-F", "\t"]
    lines = _run([_programs() / "psql", url, *options, "-c", sql], None).splitlines()
    return [line.split("\t") for line in lines if line]


def _programs() -> Path:
    found = shutil.which("initdb")
    if found and (Path(found).resolve().parent / "postgres").exists():
        return Path(found).resolve().parent
    for pattern in PLACES:
        for place in sorted(glob.glob(pattern), reverse=True):  # noqa: PTH207 (an absolute pattern)
            if (Path(place) / "postgres").exists():
                return Path(place)
    raise PostgresError(
        "PostgreSQL is not installed, and TEST_DATABASE_URL is not set: install its server "
        "(Debian: apt-get install postgresql; macOS: brew install postgresql@17), or name a "
        "server, as in TEST_DATABASE_URL=postgresql://postgres@127.0.0.1:5432/postgres."
    )


def _user() -> str | None:
    """Whom the server runs as; None: the caller."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise PostgresError(
        "PostgreSQL refuses to run as root, and this machine has no user "
        f"{' or '.join(USERS)}: run this as another user, or set TEST_DATABASE_URL."
    )


def _run(command: Sequence[str | Path], user: str | None) -> str:
    done = subprocess.run(command, user=user, cwd="/", capture_output=True, text=True)
    if done.returncode != 0:
        raise PostgresError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _wait(programs: Path, port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    asks: list[str | Path] = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    while subprocess.run(asks).returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL did not start: {log.read_text('utf-8', 'replace')}")
        time.sleep(0.05)


def main() -> int:
    """Run the command that was given; return its exit code."""
    match sys.argv[1:]:
        case ["--keep", folder, *command] if command:
            if os.environ.get("APP_DATABASE__URL"):
                return _work(command, {})
            own = kept(Path(folder))
        case [first, *_] as command if first != "--keep":
            own, folder = server(), ""
        case _:
            sys.exit("usage: python -m dev.postgres [--keep FOLDER] COMMAND")
    try:
        with own as url:
            urls = {"APP_DATABASE__URL": url, "TEST_DATABASE_URL": url}
            if folder:
                sys.stderr.write(f"PostgreSQL: {url}\n")
                migrate = [sys.executable, "-m", "app", "migrate"]
                if code := subprocess.run(migrate, env={**os.environ, **urls}).returncode:
                    return code
            return _work(command, urls)
    except PostgresError as error:
        sys.exit(str(error))


def _work(command: list[str], urls: dict[str, str]) -> int:
    """Run ``command`` in a process group of its own, and pass signals on to it."""
    process = subprocess.Popen(command, env={**os.environ, **urls}, process_group=0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: process.send_signal(number))
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
