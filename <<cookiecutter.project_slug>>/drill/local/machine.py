"""[drill.local.addresses] Where pods listen.

Every pod gets an address of its own, as in a cluster, with the same ports on
each. Where the machine has 127.0.0.1 alone (macOS), pods get ports of their
own instead.

[drill.local.service_address] The address of the Services, as kube-proxy makes it on every node.
[drill.local.processes] Processes that cannot outlive the drill.

Each process leads a group of its own, so that Ctrl-C reaches the drill alone
and a kill reaches whatever the process started. Leaving the ``async with`` block
kills what is left; should the drill itself be killed, a guard process does it.

"""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from drill.errors import DrillError
from drill.record import Endpoint

#: Below the ports that systems give to clients, so that no client takes one in between.
PORTS = range(12_000, 30_000, 2)
#: 127.0.0.11 and on: what is below is in use on some machines (127.0.0.1, 127.0.0.2, 127.0.0.10).
HOSTS = [f"127.0.{n // 250}.{n % 250 + 1}" for n in range(10, 2_000)]
#: So many pods are to find the same ports free; more are found in most rehearsals.
CHECKED_HOSTS = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod listens: the chart is rendered with these ports."""

    host: str
    port: int
    management_port: int


def places() -> Iterator[Place]:
    """Free places, each once, found when they are asked for. Raises DrillError at their end."""
    ports = random.sample(PORTS, len(PORTS))
    if is_free("127.0.0.2", 0):
        port = next((p for p in ports if _free_on_all(HOSTS[:CHECKED_HOSTS], p)), None)
        hosts = (host for host in HOSTS if port is not None and is_free(host, port, port + 1))
        yield from (Place(host, port, port + 1) for host in hosts if port is not None)
    else:
        free = (port for port in ports if is_free("127.0.0.1", port, port + 1))
        yield from (Place("127.0.0.1", port, port + 1) for port in free)
    raise DrillError(
        f"no free ports between {PORTS.start} and {PORTS.stop} for one more pod: "
        "stop what holds them."
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


#: Which Services a pod watches, and asks who answers there.
SERVICES = "APP_KUBERNETES__SERVICES"
HOST = "127.0.0.1"
PART_BYTES = 65_536


class ServiceAddress:
    """Takes each connection to one of the endpoints that ``seen`` returns at that moment.

    ``seen`` is what the clients see, late: so a pod that asks who answers here
    learns what the nodes have applied. Where there is no endpoint, the
    connection is reset; kube-proxy has it refused.
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
        """What a pod has to be told: in a cluster, the names of Services lead here by DNS."""
        said = {v["name"]: v.get("value") for v in container.get("env", ())}
        return {SERVICES: self._addressed(said[SERVICES])} if said.get(SERVICES) else {}

    def _addressed(self, services: str) -> str:
        """``NAME[:PORT]``, with commas between; one without a port is not asked who answers."""
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
            pass  # as it would be for the client of a pod that refuses
        finally:
            self._connections.discard(task)
            writer.transport.abort()


async def _join(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: Endpoint
) -> None:
    """Carries what both sides say until the pod has ended."""
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
    """One process and its group."""

    def __init__(self, process: asyncio.subprocess.Process, owner: "Processes") -> None:
        self._process = process
        self._owner = owner

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, negative for the signal that ended it; its whole group is gone."""
        code = await self._process.wait()
        self._owner.kill_group(self.pid)
        return code

    def terminate(self) -> None:
        # Not by the process's own method: it may reap what has just ended, and its code is lost.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class Processes:
    """Starts processes and answers for their end."""

    async def __aenter__(self) -> "Processes":
        self._running: dict[int, asyncio.subprocess.Process] = {}
        guards_end, self._pipe = os.pipe()
        self._guard = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", GUARD, stdin=guards_end, start_new_session=True
        )
        os.close(guards_end)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = list(self._running.values())
        for process in left:
            self.kill_group(process.pid)
        await asyncio.gather(*[process.wait() for process in left])
        os.close(self._pipe)
        await self._guard.wait()

    async def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> Process:
        """Starts a command whose output goes to ``log``."""
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
                    f"cannot start {command[0]!r}: {error.strerror}; name another command."
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
