"""What this machine provides: addresses and ports for pods, a Service address, processes.

Each pod gets a loopback address of its own, with the same ports on each, as in
a cluster. Where only 127.0.0.1 exists (macOS), pods get different ports instead.

No process outlives the drill. Each leads a process group of its own, so that
Ctrl-C reaches only the drill, and a kill reaches the process's children.
"""

import asyncio
#% if cookiecutter.monitoring == "prometheus"
import json
#% endif
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from drill.errors import DrillError
from drill.record import Endpoint

#: Below the ephemeral ports, so that no client takes one in between.
PORTS = range(12_000, 30_000, 2)
#: From 127.0.0.11: some machines use lower ones (127.0.0.1, 127.0.0.2, 127.0.0.10).
HOSTS = [f"127.0.{n // 250}.{n % 250 + 1}" for n in range(10, 2_000)]
#: The ports must be free on this many addresses.
CHECKED_HOSTS = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod listens; the chart is rendered with these ports."""

    host: str
    port: int
    management_port: int


def places() -> Iterator[Place]:
    """Yield free places, each once. Raises DrillError when there are no more."""
    ports = random.sample(PORTS, len(PORTS))
    if is_free("127.0.0.2", 0):
        port = next((p for p in ports if _free_on_all(HOSTS[:CHECKED_HOSTS], p)), None)
        hosts = (host for host in HOSTS if port is not None and is_free(host, port, port + 1))
        yield from (Place(host, port, port + 1) for host in hosts if port is not None)
    else:
        free = (port for port in ports if is_free("127.0.0.1", port, port + 1))
        yield from (Place("127.0.0.1", port, port + 1) for port in free)
    raise DrillError(
        f"no free ports between {PORTS.start} and {PORTS.stop} for another pod: "
        "stop the processes that use them."
    )


def is_free(host: str, *ports: int) -> bool:
    return all(_can_bind(host, port) for port in ports)


def _free_on_all(hosts: list[str], port: int) -> bool:
    return all(is_free(host, port, port + 1) for host in hosts)


def _can_bind(host: str, port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


#% if cookiecutter.monitoring == "prometheus"
class Targets:
    """A file with the management ports of all pods, for ``make observe-local``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._places: dict[str, Place] = {}

    def add(self, pod: str, place: Place) -> None:
        self._places[pod] = place
        self._write()

    def remove(self, pod: str) -> None:
        del self._places[pod]
        self._write()

    def _write(self) -> None:
        groups = [
            {
                "targets": [f"{place.host}:{place.management_port}"],
                "labels": {"namespace": "local", "pod": pod},
            }
            for pod, place in self._places.items()
        ]
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(groups), "utf-8")
        new.replace(self._file)  # at once: Prometheus reads it when it changes


#% endif
#: The Services whose endpoints a pod watches, and whose address it queries.
SERVICES = "APP_KUBERNETES__SERVICES"
HOST = "127.0.0.1"
PART_BYTES = 65_536


class ServiceAddress:
    """The Service address, as kube-proxy provides it: forwards each connection to an endpoint.

    ``seen`` returns the endpoints that clients see, which lag behind the API. So a
    pod that queries this address learns what the nodes have applied. Without an
    endpoint the connection is reset; kube-proxy would refuse it.
    """

    def __init__(self, seen: Callable[[], Sequence[Endpoint]]) -> None:
        self._seen = seen
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, HOST, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def variables(self, container: Mapping[str, Any]) -> dict[str, str]:
        """Return the variables that lead a pod here; in a cluster, DNS does that."""
        said = {v["name"]: v.get("value") for v in container.get("env", ())}
        return {SERVICES: self._addressed(said[SERVICES])} if said.get(SERVICES) else {}

    def _addressed(self, services: str) -> str:
        """Add the address to each ``NAME:PORT`` of a comma-separated list."""
        names = [entry.strip().partition(":") for entry in services.split(",")]
        return ",".join(f"{name}={HOST}:{self.port}" if port else name for name, _, port in names)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if endpoints := self._seen():
                await _join(reader, writer, random.choice(endpoints))
        except OSError:
            pass  # the client sees a reset, as with a pod that refuses
        finally:
            self._connections.discard(task)
            writer.transport.abort()


async def _join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: Endpoint
) -> None:
    """Copy in both directions until the pod closes."""
    answers, to_pod = await asyncio.open_connection(endpoint.host, endpoint.port)
    asking = asyncio.create_task(_copy(reader, to_pod))
    try:
        await _copy(answers, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    finally:
        asking.cancel()
        to_pod.transport.abort()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while part := await source.read(PART_BYTES):
            target.write(part)
            await target.drain()


#: Kills what the drill leaves behind when it is killed itself. It reads lines of ``+GROUP`` and
#: ``-GROUP``; when its input ends, it kills the process groups that were added and not removed.
GUARD = """
import os
import signal
import sys
from contextlib import suppress

groups: set[int] = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
"""


class Process:
    """A process and its group."""

    def __init__(self, process: asyncio.subprocess.Process, owner: "Processes") -> None:
        self._process = process
        self._owner = owner

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the end, kill its group, return the exit code; negative for a signal."""
        code = await self._process.wait()
        self._owner.kill_group(self.pid)
        return code

    def terminate(self) -> None:
        # Not `Process.terminate`: it may reap a process that has just ended and lose its exit code.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class Processes:
    """Starts processes; leaving the ``async with`` block kills those that are left."""

    async def __aenter__(self) -> "Processes":
        self._running: dict[int, asyncio.subprocess.Process] = {}
        guards_end, self._pipe = os.pipe()
        self._guard = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", GUARD, stdin=guards_end, start_new_session=True
        )
        os.close(guards_end)
        return self

    async def __aexit__(self, *error: object) -> None:
        left = list(self._running.values())
        for process in left:
            self.kill_group(process.pid)
        await asyncio.gather(*[process.wait() for process in left])
        os.close(self._pipe)
        await self._guard.wait()

    async def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> Process:
        """Start a command; its output goes to ``log``."""
        with log.open("ab") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise DrillError(
                    f"cannot start {command[0]!r}: {error.strerror}; correct the chart's command."
                ) from error
        self._running[process.pid] = process
        self._tell(f"+{process.pid}")
        return Process(process, self)

    def kill_group(self, group: int) -> None:
        if self._running.pop(group, None):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
            self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):
            os.write(self._pipe, f"{line}\n".encode())
