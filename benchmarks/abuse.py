"""What slow, silent and greedy clients take of the service, and of plain uvicorn."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.abusers import ABUSES, Abusers
from benchmarks.load import load
from benchmarks.processes import Server, serving

BARE = ("-m", "benchmarks.abused")
SERVICE = (*BARE, "lifecycle")
#: Seconds for which connections are watched: longer than the longest default limit.
WATCHED = 90.0
MIB = 1024 * 1024
#: Clients beside which the latency of other requests is measured.
COUNT = 1000
ROUNDS, TURN = 8, 3.0

Figures = dict[str, float | None]


def abuse() -> dict[str, dict[str, Figures]]:
    """Seconds until each abuse ended (null: it did not), MiB that others took, and the p99 of requests in ms."""
    return {"open": watch(), "memory": taken(), "p99": latency()}


def watch() -> dict[str, Figures]:
    """How long each server lets each client go on."""
    with serving(SERVICE) as service, serving(BARE) as bare:
        ports = {"service": service.port, "bare": bare.port}
        seen: dict[str, Figures] = {name: dict.fromkeys(ports) for name in ABUSES}
        abusers = Abusers()
        names = {abusers.connect(port, name): (seen[name], server) for server, port in ports.items() for name in ABUSES}
        began = time.monotonic()
        while abusers and time.monotonic() - began < WATCHED:
            for number, _ in abusers.poll():
                figures, server = names[number]
                figures[server] = round(time.monotonic() - began, 1)
    return seen


def taken() -> dict[str, Figures]:
    """MiB by which each server grows at most while it gets too much."""
    acts: dict[str, Callable[[int], None]] = {"40 MB of headers": send_headers, "200 MiB of a body": send_body}
    seen: dict[str, Figures] = {}
    for name, act in acts.items():
        seen[name] = {}
        for server, command in (("service", SERVICE), ("bare", BARE)):
            with serving(command) as one:
                load(one.port, 1.0)  # warm
                seen[name][server] = round(growth(one, act), 1)
    return seen


def growth(server: Server, act: Callable[[int], None]) -> float:
    """MiB between the resident memory before ``act`` and its peak."""
    process = Path(f"/proc/{server.process.pid}")
    (process / "clear_refs").write_text("5")  # the peak is now what it has
    before = server.memory
    act(server.port)
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024 - before


def send_headers(port: int) -> None:
    with sending(port, b"GET /hello HTTP/1.1\r\nHost: x\r\n") as client:
        for _ in range(40_000):
            client.sendall(b"X: " + b"x" * 995 + b"\r\n")


def send_body(port: int) -> None:
    with sending(port, b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (200 * MIB)) as client:
        for _ in range(200):
            client.sendall(b"x" * MIB)
        client.recv(1024)


@contextmanager
def sending(port: int, first: bytes) -> Iterator[socket.socket]:
    """A connection whose server may close it at any time."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client, contextlib.suppress(OSError):
        client.sendall(first)
        yield client


def latency() -> dict[str, Figures]:
    """The p99 of requests in ms, beside abusers and without them, in turns."""
    pairs = []
    with serving(SERVICE) as server:
        load(server.port, 1.0)  # warm
        for _ in range(ROUNDS):
            without = load(server.port, TURN).percentile(0.99) * 1e3
            with abused(server):
                pairs.append((load(server.port, TURN).percentile(0.99) * 1e3, without))
    return {
        f"{COUNT:,} clients": {
            "abused": median(one for one, _ in pairs),
            "without": median(other for _, other in pairs),
            "ratio": median(one / other for one, other in pairs),
        }
    }


@contextmanager
def abused(server: Server) -> Iterator[None]:
    command = [sys.executable, "-m", "benchmarks.abusers", str(server.port), str(COUNT)]
    abusers = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        if abusers.stdout is None or abusers.stdout.readline() != b"held\n":
            raise RuntimeError("the abusers could not connect")
        yield
        if abusers.poll() is not None:
            raise RuntimeError("the abusers have ended")
    finally:
        abusers.kill()
        abusers.communicate()
