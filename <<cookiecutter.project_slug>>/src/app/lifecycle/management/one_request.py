"""HTTP with one request per connection and limits on bytes, time and connections.

For probes, status and metrics. Clients that send more, or more slowly, than such requests
need are disconnected, so that nobody on the network can starve the kubelet's probes.
"""

import asyncio
import contextlib
import http
from collections.abc import Coroutine

import httptools
import structlog

from app.lifecycle.asgi import App, Message
from app.lifecycle.management.probes import respond

log = structlog.get_logger(__name__)

#: Maximum size of a request in bytes; the kubelet and Prometheus send a few hundred.
REQUEST_BYTES = 8192
#: Maximum lifetime of a connection in seconds.
LIFETIME = 5.0


class OneRequestServer:
    """The protocol factory of a port on which ``app`` answers.

    At most ``limit`` connections are open. One more closes the oldest, preferably one
    that has not sent its whole request.
    """

    def __init__(self, app: App, limit: int) -> None:
        self.app = app
        self._limit = limit
        # Dictionaries as ordered sets, oldest first.
        self._open: dict[OneRequest, None] = {}
        self._idle: dict[OneRequest, None] = {}

    def __call__(self) -> "OneRequest":
        return OneRequest(self)

    def add(self, connection: "OneRequest") -> None:
        while len(self._open) >= self._limit:
            next(iter(self._idle or self._open)).abort()
        self._open[connection] = self._idle[connection] = None

    def mark_busy(self, connection: "OneRequest") -> None:
        self._idle.pop(connection, None)

    def remove(self, connection: "OneRequest") -> None:
        self._open.pop(connection, None)
        self._idle.pop(connection, None)

    async def close(self, timeout: float) -> None:
        """Close all connections; those with a request get ``timeout`` seconds to answer it."""
        if answers := [c.answer for c in self._open if c.answer is not None]:
            await asyncio.wait(answers, timeout=timeout)
        for connection in list(self._open):
            connection.abort()


class OneRequest(asyncio.Protocol):
    """One connection; the parser calls the ``on_...`` methods."""

    def __init__(self, server: OneRequestServer) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._received = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._has_body = False
        self._method = "GET"
        self._head = b""
        #: The task that answers; set once the headers are complete or the request is refused.
        self.answer: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(LIFETIME, self.abort)
        self._server.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._server.remove(self)
        if self.answer is not None:
            self.answer.cancel()

    def eof_received(self) -> bool:
        """Keep the connection of a client that closes its side after its request."""
        return self.answer is not None

    def abort(self) -> None:
        """Close without sending what is buffered."""
        self._server.remove(self)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self.answer is None:
            try:
                self._parser.feed_data(data[: REQUEST_BYTES + 1])
            except httptools.HttpParserUpgrade:
                pass  # answered as a plain request
            except httptools.HttpParserError:
                self._start(self._refuse(400))
        if self._received > REQUEST_BYTES:
            if self.answer is None:
                self._start(self._refuse(431))
            with contextlib.suppress(RuntimeError):  # already closing
                self._transport.pause_reading()

    def on_url(self, url: bytes) -> None:
        if self.answer is None:  # ignores pipelined requests
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.answer is not None:
            return
        name = name.lower()
        self._headers.append((name, value))
        if name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
            self._has_body = True

    def on_headers_complete(self) -> None:
        if self.answer is None:
            self._method = self._parser.get_method().decode("ascii")
            refused = self._has_body and self._method in ("GET", "HEAD")
            self._start(self._refuse(413) if refused else self._ask())

    def _start(self, answer: Coroutine[None, None, None]) -> None:
        self._server.mark_busy(self)
        self.answer = asyncio.get_running_loop().create_task(answer)

    async def _ask(self) -> None:
        try:
            url = httptools.parse_url(self._url)
        except httptools.HttpParserInvalidURLError:
            await self._refuse(400)
            return
        scope = {
            "type": "http",
            "method": self._method,
            "path": (url.path or b"/").decode("latin-1"),
            "query_string": url.query or b"",
            "headers": self._headers,
        }
        try:
            await self._server.app(scope, _receive, self._send)
        except Exception:
            log.exception("management request failed", path=scope["path"])
            await self._refuse(500)

    async def _refuse(self, status: int) -> None:
        phrase = http.HTTPStatus(status).phrase.lower()
        await respond(self._send, status, f"{phrase}\n".encode(), b"text/plain")

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            status = http.HTTPStatus(message["status"])
            lines = [f"HTTP/1.1 {status} {status.phrase}".encode()]
            lines += [b"%b: %b" % header for header in message["headers"]]
            self._head = b"\r\n".join([*lines, b"", b""])
        elif not self._transport.is_closing():
            body = b"" if self._method == "HEAD" else message["body"]
            self._transport.write(self._head + body)
            self._transport.close()


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
