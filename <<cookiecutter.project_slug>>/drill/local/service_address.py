"""The address of the Services, as kube-proxy makes it on every node."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from drill.record import Endpoint

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
