"""What a request costs while the service drains, beside one while it serves, with many connections open."""

import asyncio
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import uvloop

from benchmarks.held import KINDS
from benchmarks.processes import SERVICE, Server, serving

CONNECTIONS = 10_000
#: Descriptors that a process needs beside those.
OTHERS = 200
CLIENTS = 8
REQUESTS = 1500
ROUNDS = 8
REQUEST = b"GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
#: The drain lasts longer than the measurement, and no held connection times out.
SETTINGS = {
    "APP_KEEP_ALIVE_SECONDS": "600",
    "APP_SHUTDOWN__FLOOR_SECONDS": "600",
    "APP_SHUTDOWN__LIMIT_SECONDS": "600",
    "APP_SHUTDOWN__GRACE_SECONDS": "900",
}


def draining() -> dict[str, dict[str, float | str]]:
    """Medians of both in µs of processor time, and that of the ratios of pairs, for each kind of connection."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < CONNECTIONS + OTHERS:
        raise SystemExit(f"ulimit -Hn is {hard}: {CONNECTIONS + OTHERS} open files are needed")
    soft = CONNECTIONS + OTHERS if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))  # the processes inherit it
    return {f"{CONNECTIONS:,} {kind}": beside_serving(kind) for kind in KINDS}


def beside_serving(kind: str) -> dict[str, float | str]:
    """Two processes with the same connections; one is told to stop, and the clients turn from one to the other."""
    with busy(kind) as serves, busy(kind) as drains:
        for server in (serves, drains):
            cost(server)  # warm
        drains.process.send_signal(signal.SIGTERM)
        pairs = []
        for turn in range(ROUNDS):
            both = (serves, drains) if turn % 2 == 0 else (drains, serves)
            taken = {server.port: cost(server) for server in both}
            pairs.append((taken[drains.port], taken[serves.port]))
    return {
        "draining": median(one for one, _ in pairs),
        "serving": median(other for _, other in pairs),
        "ratio": median(one / other for one, other in pairs),
        "unit": "µs",
        "better": "less",
    }


@contextmanager
def busy(kind: str) -> Iterator[Server]:
    """The service, with its connections held."""
    with serving(SERVICE, settings=SETTINGS) as server:
        command = [sys.executable, "-m", "benchmarks.held", str(server.port), str(CONNECTIONS), kind]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            if holder.stdout is None or holder.stdout.readline() != b"held\n":
                raise RuntimeError(f"{CONNECTIONS} connections could not be held")
            yield server
            if holder.poll() is not None:
                raise RuntimeError("connections did not stay open")
        finally:
            holder.kill()
            holder.communicate()


def cost(server: Server) -> float:
    """Processor time of the server for each request, in µs. Each comes on a connection of its own, as in a drain."""
    before = server.cpu
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_ask(server.port))
    return (server.cpu - before) / REQUESTS * 1e6


async def _ask(port: int) -> None:
    left = iter(range(REQUESTS))

    async def client() -> None:
        for _ in left:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            answer = await reader.read()
            writer.close()
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"answered {answer!r}")

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
