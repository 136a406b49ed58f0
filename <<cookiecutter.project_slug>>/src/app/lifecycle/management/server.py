"""The management port: probes, status and metrics, served by a thread with its own event loop.

Probes must not queue behind user traffic, and a handler that blocks the main loop must
not fail them. The Service does not expose this port, and nothing on it can stop or drain
the pod. It speaks HTTP with one request per connection. Clients that send more, or more
slowly, than such requests need are disconnected, so that nobody on the network can starve
the kubelet's probes.
"""

import asyncio
import contextlib
import http
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

import httptools
import structlog
import uvloop

from app.lifecycle.asgi import Scope
from app.lifecycle.management.control import Control
from app.lifecycle.ports import BACKLOG, StartError

log = structlog.get_logger(__name__)

#: Seconds that the thread gets to start, and to end.
THREAD_TIMEOUT = 5.0
#: Seconds that requests in flight get at the end.
FLUSH = 0.5
#: Maximum size of a request in bytes; the kubelet and Prometheus send a few hundred.
REQUEST_BYTES = 8192
#: Maximum lifetime of a connection in seconds.
LIFETIME = 5.0


class Response(NamedTuple):
    """A response after which the connection closes."""

    status: int
    text: str
    media_type: bytes = b"text/plain"
    more: tuple[tuple[bytes, bytes], ...] = ()

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", self.media_type),
            (b"content-length", str(len(self.text.encode())).encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            *self.more,
        ]


Route = Callable[[Scope], Awaitable[Response]]


class Management:
    """Runs the management port and the control socket in a daemon thread.

    At most ``limit`` connections are open. One more closes the oldest, preferably one that
    has not sent its whole request.
    """

    def __init__(
        self, routes: Mapping[str, Route], sock: socket.socket, control: Control, *, limit: int
    ) -> None:
        self.routes = routes
        self._limit = limit
        # Dictionaries as ordered sets, oldest first.
        self._open: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}
        self._socket = sock
        self._control = control
        self._loop = uvloop.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="management", daemon=True)

    def start(self) -> None:
        """Return when the port and the control socket listen; raise StartError if they cannot."""
        self._thread.start()
        if not self._started.wait(THREAD_TIMEOUT):
            raise StartError(f"the management port did not open within {THREAD_TIMEOUT:.0f} s")
        if self._error is not None:
            raise StartError(str(self._error)) from self._error

    def stop(self) -> None:
        """Close both and end the thread; hooks may read the last step before that."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(THREAD_TIMEOUT)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        port = self._socket.getsockname()[1]
        try:
            self._socket.listen(BACKLOG)  # uvloop would close the socket and raise nothing
        except OSError as error:
            raise StartError(f"cannot listen on port {port}: {error.strerror}") from None
        self._socket.setblocking(False)
        listener = await self._loop.create_server(
            lambda: Connection(self), sock=self._socket, backlog=BACKLOG
        )
        try:
            async with self._control.listening():
                self._started.set()
                await self._stop.wait()
        finally:
            listener.close()
            if answers := [c.answer for c in self._open if c.answer is not None]:
                await asyncio.wait(answers, timeout=FLUSH)
            for connection in list(self._open):
                connection.abort()

    def add(self, connection: "Connection") -> None:
        while len(self._open) >= self._limit:
            next(iter(self._idle or self._open)).abort()
        self._open[connection] = self._idle[connection] = None

    def mark_busy(self, connection: "Connection") -> None:
        self._idle.pop(connection, None)

    def remove(self, connection: "Connection") -> None:
        self._open.pop(connection, None)
        self._idle.pop(connection, None)


class Connection(asyncio.Protocol):
    """A connection with one request; the parser calls the ``on_...`` methods."""

    def __init__(self, management: Management) -> None:
        self._management = management
        self._parser = httptools.HttpRequestParser(self)
        self._received = 0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._has_body = False
        self._method = "GET"
        #: The task that answers; set once the headers are complete or the request is refused.
        self.answer: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(LIFETIME, self.abort)
        self._management.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._management.remove(self)
        if self.answer is not None:
            self.answer.cancel()

    def eof_received(self) -> bool:
        """Keep the connection of a client that closes its side after its request."""
        return self.answer is not None

    def abort(self) -> None:
        """Close without sending what is buffered."""
        self._management.remove(self)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self.answer is None:
            try:
                self._parser.feed_data(data[: REQUEST_BYTES + 1])
            except httptools.HttpParserUpgrade:
                pass  # answered as a plain request
            except httptools.HttpParserError:
                self._answer(400)
        if self._received > REQUEST_BYTES:
            if self.answer is None:
                self._answer(431)
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
            self._answer(413 if self._has_body and self._method in ("GET", "HEAD") else None)

    def _answer(self, refusal: int | None) -> None:
        """Start to answer with the status ``refusal``, or else with what the route returns."""
        self._management.mark_busy(self)
        self.answer = asyncio.get_running_loop().create_task(self._send(refusal))

    async def _send(self, refusal: int | None) -> None:
        response = _refuse(refusal) if refusal else await self._route()
        if not self._transport.is_closing():
            status = http.HTTPStatus(response.status)
            head = [f"HTTP/1.1 {status} {status.phrase}".encode()]
            head += [b"%b: %b" % header for header in response.headers()]
            body = b"" if self._method == "HEAD" else response.text.encode()
            self._transport.write(b"\r\n".join([*head, b"", body]))
            self._transport.close()

    async def _route(self) -> Response:
        try:
            url = httptools.parse_url(self._url)
        except httptools.HttpParserInvalidURLError:
            return _refuse(400)
        if self._method not in ("GET", "HEAD"):
            return Response(405, "only GET and HEAD\n")
        routes, path = self._management.routes, (url.path or b"/").decode("latin-1")
        if path not in routes:
            return Response(404, f"not found; available: {', '.join(routes)}\n")
        try:
            return await routes[path]({"query_string": url.query or b"", "headers": self._headers})
        except Exception:
            log.exception("management request failed", path=path)
            return _refuse(500)


def _refuse(status: int) -> Response:
    return Response(status, f"{http.HTTPStatus(status).phrase.lower()}\n")
