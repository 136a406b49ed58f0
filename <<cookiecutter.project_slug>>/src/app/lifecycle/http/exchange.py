"""One request or WebSocket, from its first byte to the end of its background work."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from functools import cached_property

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.lifecycle.asgi import Message, Receive, Scope, Send
from app.lifecycle.http.records import Records, stream_in
from app.lifecycle.phase import Lifecycle
from app.observability.logging import request_id_of

#: WebSocket close code for a restart: the client may reconnect (IANA registry of RFC 6455).
SERVICE_RESTART = 1012
SWITCHING_PROTOCOLS = 101
#: The response to a WebSocket that is closed before it is accepted.
FORBIDDEN = 403
#: nginx's status for a client that closed the connection before its response was complete.
CLIENT_GONE = 499
#: Seconds to wait for a slow peer: for the rest of a request that was answered early, or
#: until it reads the end of its stream.
LINGER = 1.0

OnStream = Callable[["Exchange"], None]


class Exchange:
    """An ASGI call in progress; the application gets its ``receive`` and ``send``."""

    # The defaults are class attributes: a request pays only for what it uses.
    status = 0
    complete = False
    #: An event stream, a stream of records or an accepted WebSocket: a stop ends it in a
    #: step of its own, the drain does not wait for it. Known when the response starts.
    stream = False
    #: Tracks where records end, in a stream that must not be cut inside one.
    records: Records | None = None
    #: Set by a handler before its response starts: wait for it even if it is a stream.
    finite = False
    #: Bytes that the application has sent, as the body or in messages.
    sent = 0
    #: Cancelled before it was done.
    cut = False
    #: Answered 503 without reaching the application: it came too late, or was shed.
    refused = False
    #: The service has ended this stream.
    ended = False
    #: Set when the handler of an ended stream sees its client as gone. Exists once ``ended``.
    notified: asyncio.Event
    #: Set when the record in progress at the end is complete. Exists once ``ended``.
    _record_complete: asyncio.Event
    #: When this stream ends, on the monotonic clock; None until that is decided.
    ends_at: float | None = None
    #: Made by a handler that sends its own last message, set when it should.
    turn: asyncio.Event | None = None
    _body_read = False
    #: How a WebSocket ended: by its client, or by its handler.
    _client_left = _handler_closed = False

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, lifecycle: Lifecycle, on_stream: OnStream
    ) -> None:
        """``on_stream`` is called when this becomes a stream, and when that stream is complete."""
        self.scope = scope
        self.lifecycle = lifecycle
        self._on_stream = on_stream
        self._receive = receive
        self._send = send
        self.began = time.monotonic()
        self.task: asyncio.Task[object] = asyncio.current_task()  # type: ignore[assignment]

    @cached_property
    def request_id(self) -> str:
        """The id of this request in logs: the caller's, or a new one."""
        return request_id_of(self.scope["headers"])

    @property
    def method(self) -> str:
        return str(self.scope.get("method", "WS"))

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def name(self) -> str:
        """Method and path, for logs and reports."""
        return f"{self.method} {self.path}"

    @property
    def mid_record(self) -> bool:
        """Whether the client is connected and has received only a part of a record."""
        if self.records is None or self.records.whole or self.complete:
            return False
        return not self.disconnected

    @property
    def disconnected(self) -> bool:
        """Whether the server has noticed that the client of this request is gone."""
        return getattr(getattr(self._receive, "__self__", None), "disconnected", False)

    def outcome(self) -> tuple[int, str]:
        """The status for the log, and who ended it early: ``client``, ``stop`` or nobody.

        Valid when the handler is done. Clients leave streams as a matter of course; one
        that leaves before its response is complete gets CLIENT_GONE.
        """
        status = self.status or 500  # the server's answer where a handler sends none
        if self.cut or self.ended:
            return status, "stop"
        left = self._client_left or self.disconnected
        if self._handler_closed or not left:
            return status, ""
        return (status if self.stream else CLIENT_GONE), "client"

    def send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.body":
            self.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.complete = True
                if self.stream:
                    self._on_stream(self)
                if self.lifecycle.draining and not self._body_read and self._has_body():
                    return self._read_then_send(message)
            elif self.records is not None:
                return self._send_records(message, self.records)
        elif self.ended:
            # ASGI signals a lost peer by an OSError; Starlette turns it into
            # WebSocketDisconnect.
            raise ConnectionResetError("the service is restarting and has closed this WebSocket")
        else:
            self._track_websocket(kind, message)
        return self._send(message)

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = message.get("headers", ())
        if type(headers) is not list:  # ASGI allows an iterator
            headers = message["headers"] = list(headers)
        if (stream := stream_in(headers)) is not None and not self.finite:
            self.records = stream()
            self.stream = True
            self._on_stream(self)
        if self.lifecycle.draining:
            # A response whose headers went out before the drain keeps its connection; the
            # next response on it closes it.
            kept = [header for header in headers if header[0] != b"connection"]
            message["headers"] = [*kept, (b"connection", b"close")]

    async def _send_records(self, message: Message, records: Records) -> None:
        """Send a part of a stream of records; after its end, only the rest of a record."""
        body = message.get("body", b"")
        if not self.ended:
            await self._send(message)
            records.sent(body)
            return
        if self.complete:  # let the server raise its error
            await self._send(message)
        if records.whole:
            # Hold a handler that sends more after the end until it is notified or cancelled.
            await self.notified.wait()
            await asyncio.sleep(0)
            return
        size = records.complete(bytes(body))
        part = body if size is None else body[:size]
        await self._send({**message, "body": part})
        records.sent(part)
        if size is not None:
            records.whole = True
            self._record_complete.set()
            self._wake()

    def _track_websocket(self, kind: str, message: Message) -> None:
        """Track what goes to a WebSocket, or to a client whose upgrade is declined."""
        match kind:
            case "websocket.accept":
                self.status = SWITCHING_PROTOCOLS
                self.stream = True
                self._on_stream(self)
            case "websocket.send":
                text = message.get("text") or ""
                self.sent += len(message.get("bytes") or text.encode())
            case "websocket.close":
                self._handler_closed = True
                self.status = self.status or FORBIDDEN
            case "websocket.http.response.start":
                self._handler_closed = True
                self.status = message["status"]
            case "websocket.http.response.body":
                self.sent += len(message.get("body", b""))
                self.complete = not message.get("more_body", False)

    async def _read_then_send(self, message: Message) -> None:
        """Read the rest of the request body, then complete the response.

        The connection closes after it. Closing with unread bytes makes the kernel
        reset it, and the client may lose the response (RFC 9112, section 9.6). A client
        that expects ``100 Continue`` sends no body any more.
        """
        if not self._has_header(b"expect"):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    while not (self._body_read or self.ended):
                        await self.receive()
        await self._send(message)

    def _has_body(self) -> bool:
        """Whether the request has a body (RFC 9112, section 6.3)."""
        return self._has_header(b"content-length", b"transfer-encoding")

    def _has_header(self, *names: bytes) -> bool:
        return any(name in names for name, _ in self.scope["headers"])

    async def receive(self) -> Message:
        # No await before the server's own: Starlette polls for a disconnect in a
        # scope that is cancelled at the first one.
        message = {} if self._closed_to_handler() else await self._receive()
        if self._closed_to_handler():
            self.notified.set()
            return {"type": "http.disconnect"}
        self._body_read = not message.get("more_body", False)
        if message["type"] == "websocket.disconnect":
            self._client_left = True
        return message

    def _closed_to_handler(self) -> bool:
        """Whether the handler should see its client as gone."""
        return self.ended and not self.mid_record and self.scope["type"] == "http"

    async def end(self) -> None:
        """End a stream without the handler's help, in the way its client expects.

        The handler of a response sees its client as gone, and ``finish`` sends the last
        chunk; before that, a record in progress gets LINGER seconds to be completed.
        A WebSocket gets a close frame with code 1012.
        """
        if self.scope["type"] == "websocket" and not self.ended:
            # A client that does not read blocks the frame: TimeoutError is an OSError.
            with contextlib.suppress(OSError, RuntimeError):
                async with asyncio.timeout(LINGER):
                    await self._send({"type": "websocket.close", "code": SERVICE_RESTART})
        if not self.ended:
            self.notified, self._record_complete = asyncio.Event(), asyncio.Event()
        self.ended = True
        if self.mid_record:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._record_complete.wait()
        self._wake()

    def _wake(self) -> None:
        """Wake whoever waits for a disconnect in the server's ``receive``."""
        cycle = getattr(self._receive, "__self__", None)
        if isinstance(cycle, RequestResponseCycle):  # not for WebSockets and in tests
            cycle.message_event.set()

    async def finish(self) -> None:
        """Complete what ``end`` or ``abort`` interrupted, if that is still possible."""
        if self.complete or (self.scope["type"] == "websocket" and self.status):
            return
        if self.mid_record:
            # No last chunk: it tells the client that something is missing.
            self.cut = True
        elif self.stream:
            # A client that has stopped reading would block the last chunk.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    closing = b"" if self.records is None else self.records.closing
                    await self.send({"type": "http.response.body", "body": closing})
        elif self.status == 0:
            await self.decline()

    async def decline(self) -> None:
        """Answer 503, so that the client tries another pod."""
        kind = "websocket.http" if self.scope["type"] == "websocket" else "http"
        headers = [(b"retry-after", b"1"), (b"content-length", b"0"), (b"connection", b"close")]
        await self.send({"type": f"{kind}.response.start", "status": 503, "headers": headers})
        await self.send({"type": f"{kind}.response.body", "body": b""})

    def abort(self, reason: str) -> None:
        """Cancel the handler; ``reason`` becomes the cancellation's message."""
        self.cut = self.mid_record or not self.ended
        self.task.cancel(reason)

    async def wait_done(self, timeout: float) -> bool:
        """Wait until the handler and its background work are done; False after ``timeout``."""
        if not self.task.done():
            await asyncio.wait({self.task}, timeout=timeout)
        return self.task.done()
