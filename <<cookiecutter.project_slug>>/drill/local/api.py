"""The API server's EndpointSlices, list and watch, for what runs in the pods.

https://kubernetes.io/docs/reference/using-api/api-concepts/ says how: a list
has a version, a watch goes on from one, bookmarks carry it forward, and a
version that has been forgotten is answered by 410.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Self
from urllib.parse import parse_qs, urlsplit

from drill.local.endpoints import (
    Json,
    Service,
    bookmark,
    entry,
    names_in,
    slice_list,
    slice_of,
    status,
)
from drill.plan import ApiFault
from drill.record import Endpoint

RESOURCE = "endpointslices"
BOOKMARK_SECONDS = 1.0
#: A watch of the real one ends after 30 to 60 minutes when the client does not say.
WATCH_SECONDS = 1800.0


class SliceApi:
    """Serves one slice for each Service, over HTTP without TLS, on a port of its own.

    Tell it of every change of an endpoint by ``publish``.
    """

    def __init__(
        self, services: Sequence[Service], host: str = "127.0.0.1", fault: ApiFault = ApiFault.NONE
    ) -> None:
        self._services = services
        self._host = host
        self._fault = fault
        self._endpoints: dict[str, Json] = {}
        self._version = 1
        self._changed = asyncio.Event()
        self._watches: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, self._host, 0)
        self.url = "http://{}:{}".format(*self._server.sockets[0].getsockname()[:2])
        if self._fault is ApiFault.DOWN:
            self._server.close()
        return self

    @property
    def variables(self) -> dict[str, str]:
        """Where pods find it, by the names that the kubelet gives."""
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return {
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "APP_KUBERNETES__API": self.url,  # without TLS
        }

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    def publish(self, pod: str, endpoint: Endpoint | None, node: str = "") -> None:
        """The endpoint's new conditions, or None when it is no more."""
        if endpoint is None:
            self._endpoints.pop(pod, None)
        elif self._fault is ApiFault.LIES:
            self._endpoints[pod] = entry(Endpoint(pod, endpoint.host, endpoint.port, True), node)
        else:
            self._endpoints[pod] = entry(endpoint, node)
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    target = head.split(b" ", 2)[1].decode("ascii", "replace")
                    await self._answer(target, writer)
        finally:
            self._watches.discard(task)
            writer.close()

    async def _answer(self, target: str, writer: asyncio.StreamWriter) -> None:
        url = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        services = self._selected(url.path, query.get("labelSelector", ""))
        if self._fault is ApiFault.HANGS:
            await asyncio.Event().wait()
        if services is None:
            return _send(writer, 404, status(404, "NotFound"))
        if self._fault is ApiFault.FORBIDDEN:
            return _send(writer, 403, status(403, "Forbidden"))
        if query.get("watch") not in ("true", "1"):
            return _send(writer, 200, slice_list(self._slices(services), self._version))
        _send_head(writer, 200, "Transfer-Encoding: chunked")
        async for event in self._watch(services, query):
            line = json.dumps(event).encode() + b"\n"
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            await writer.drain()
        if self._fault is ApiFault.DIES:
            writer.write(b"ff\r\n{")  # breaks off in the middle of a chunk
            self._server.close()
            raise ConnectionResetError
        writer.write(b"0\r\n\r\n")
        return None

    def _selected(self, path: str, selector: str) -> list[Service] | None:
        """The Services asked for; None for what is not served."""
        for namespace in {service.namespace for service in self._services}:
            if path == f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/{RESOURCE}":
                names = names_in(selector)
                here = [s for s in self._services if s.namespace == namespace]
                return [s for s in here if names is None or s.name in names]
        return None

    async def _watch(
        self, services: Sequence[Service], query: Mapping[str, str]
    ) -> AsyncIterator[Json]:
        """Events after the version asked for, until its time is over."""
        seen = int(query.get("resourceVersion") or 0)
        if self._fault is ApiFault.FORGETS:
            yield {"type": "ERROR", "object": status(410, "Expired")}
            return
        if self._fault is ApiFault.DIES:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + float(query.get("timeoutSeconds") or WATCH_SECONDS)
        while loop.time() < end:
            if seen < self._version:
                seen = self._version
                for one in self._slices(services):
                    yield {"type": "MODIFIED", "object": one}
            elif query.get("allowWatchBookmarks") == "true":
                yield {"type": "BOOKMARK", "object": bookmark(seen)}
            with suppress(TimeoutError):
                async with asyncio.timeout(min(BOOKMARK_SECONDS, end - loop.time())):
                    await self._changed.wait()

    def _slices(self, services: Sequence[Service]) -> list[Json]:
        endpoints = list(self._endpoints.values())
        return [slice_of(service, endpoints, self._version) for service in services]


def _send(writer: asyncio.StreamWriter, status: int, body: Json) -> None:
    content = json.dumps(body).encode()
    _send_head(writer, status, f"Content-Length: {len(content)}")
    writer.write(content)


def _send_head(writer: asyncio.StreamWriter, status: int, framing: str) -> None:
    writer.write(
        f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\n{framing}\r\n\r\n".encode()
    )
