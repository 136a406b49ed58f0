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
from app.observability.request_id import request_id_of

#: RFC 6455 and its registry of close codes: the service restarts, connect again.
SERVICE_RESTART = 1012
SWITCHING_PROTOCOLS = 101
#: Headers of a request that has a body.
BODY = frozenset((b"content-length", b"transfer-encoding"))
#: What a WebSocket that is closed before it is accepted is answered.
FORBIDDEN = 403
#: nginx's number for a client that has closed the connection before its response was complete.
CLIENT_GONE = 499
#: Seconds for which a peer may keep its end waiting: with the body of a request that was
#: answered early, or by not reading the end of its stream.
LINGER = 1.0


class Exchange:
    """An ASGI call under way, and the two channels it goes through.

    ``receive`` and ``send`` are what the application gets instead of the server's.
    """

    # Defaults live in the class: what a request does not use costs it nothing.
    status = 0
    complete = False
    #: An event stream, a stream of records or an accepted WebSocket: ended in a step of
    #: its own, not waited for. Known when the response starts.
    stream = False
    #: What the stream consists of, where half of one would do harm.
    records: Records | None = None
    #: Set by a handler, before its response starts: waited for even if it is a stream.
    finite = False
    #: Bytes that the application has sent as the body, or in messages.
    sent = 0
    #: Cut off: cancelled before it was done.
    cut = False
    #: Came when nothing was served any more.
    refused = False
    #: A stream that was ended from this side, and whether its handler has heard of it.
    ended = False
    told = False
    #: When this stream is ended, on the monotonic clock; None until that is decided.
    ends_at: float | None = None
    #: Made by the handler that wants to say goodbye itself, set when it may.
    turn: asyncio.Event | None = None
    _body_read = False
    #: Made in the middle of a record by ``end``, set when the record is whole.
    _whole: asyncio.Event | None = None
    #: Made by a handler that sends more after the end, set when it is told.
    _heard: asyncio.Event | None = None
    #: How a WebSocket ended: its client left, or its handler closed it.
    _left = _closed = False

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        lifecycle: Lifecycle,
        on_stream: "Callable[[Exchange], None]",
    ) -> None:
        """``on_stream`` is called when this turns out to be a stream, and when that is complete."""
        self.scope = scope
        self.lifecycle = lifecycle
        self._on_stream = on_stream
        self._receive = receive
        self._send = send
        self.began = time.monotonic()
        self.task = asyncio.current_task()

    @cached_property
    def request_id(self) -> str:
        """The id of this request in logs: the caller's, or one of our own."""
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
    def torn(self) -> bool:
        """Whether the client is there and has got a part of a record, but not its end."""
        if self.records is None or self.records.whole or self.complete:
            return False
        cycle = self._cycle()
        return cycle is None or not cycle.disconnected

    def ending(self) -> tuple[int, str]:
        """The status for the log, and who ended it before its handler did: client, stop or nobody.

        To be asked when the handler is done. A client that leaves a stream is nothing
        unusual; one that leaves before its response is complete is CLIENT_GONE.
        """
        status = self.status or 500  # where a handler answers nothing, the server does
        if self.cut or self.ended:
            return status, "stop"
        server = getattr(self._receive, "__self__", None)
        if self._closed or not (self._left or getattr(server, "disconnected", False)):
            return status, ""
        return (status if self.stream else CLIENT_GONE), "client"

    def mark_as_stream(self) -> None:
        """Say in the scope that what this connection has not sent yet is not waited for."""
        self.scope["stream"] = True

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
            # An OSError is how ASGI says that the peer is gone; Starlette turns it
            # into WebSocketDisconnect.
            raise ConnectionResetError("the service is restarting and has closed this WebSocket")
        else:
            self._note(kind, message)
        return self._send(message)

    def _start(self, message: Message) -> None:
        self.status = message["status"]
        headers = message.get("headers", ())
        if type(headers) is not list:  # ASGI allows what can be read only once
            headers = message["headers"] = list(headers)
        if (stream := stream_in(headers)) is not None and not self.finite:
            self.records = stream.records()
            self._becomes_stream()
        if self.lifecycle.draining:
            # A response whose headers are out already keeps its connection: the next
            # request on it is told.
            kept = [header for header in headers if header[0] != b"connection"]
            message["headers"] = [*kept, (b"connection", b"close")]

    async def _send_records(self, message: Message, records: Records) -> None:
        """Send a part of a stream of records; once it is ended, only what completes one."""
        body = message.get("body", b"")
        if not self.ended:
            await self._send(message)
            records.sent(body)
            return
        if self.complete:  # for the server to say so
            await self._send(message)
        if records.whole:
            await self._turn_away()
            return
        size = records.complete(bytes(body))
        part = body if size is None else body[:size]
        await self._send({**message, "body": part})
        records.sent(part)
        if size is not None:
            records.whole = True
            if self._whole is not None:
                self._whole.set()
            self._wake()

    async def _turn_away(self) -> None:
        """Hold up a handler that sends more after the end until it is told or cancelled."""
        if self.told:
            await asyncio.sleep(0)
            return
        self._heard = self._heard or asyncio.Event()
        await self._heard.wait()

    def _note(self, kind: str, message: Message) -> None:
        """Take note of what goes to a WebSocket, or to a client that asked for one in vain."""
        match kind:
            case "websocket.accept":
                self.status = SWITCHING_PROTOCOLS
                self._becomes_stream()
            case "websocket.send":
                text = message.get("text") or ""
                self.sent += len(message.get("bytes") or text.encode())
            case "websocket.close":
                self._closed = True
                self.status = self.status or FORBIDDEN
            case "websocket.http.response.start":
                self._closed = True
                self.status = message["status"]
            case "websocket.http.response.body":
                self.sent += len(message.get("body", b""))
                self.complete = not message.get("more_body", False)

    def _becomes_stream(self) -> None:
        self.stream = True
        self._on_stream(self)

    async def _read_then_send(self, message: Message) -> None:
        """Read what the handler left of the request, then complete the response.

        The connection closes after it. Closing with unread bytes makes the kernel
        reset it, and the client may lose the response (RFC 9112, section 9.6).
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while not (self._body_read or self.ended or self._awaits_go_ahead()):
                    await self.receive()
        await self._send(message)

    def _has_body(self) -> bool:
        """Whether the request has one (RFC 9112, section 6.3)."""
        return any(name in BODY for name, _ in self.scope["headers"])

    def _awaits_go_ahead(self) -> bool:
        """Whether the client sends its body only when told to; now it never will be."""
        return any(name == b"expect" for name, _ in self.scope["headers"])

    async def receive(self) -> Message:
        # No step of our own before the server's: Starlette asks for a disconnect in a
        # scope that is cancelled at the first one.
        message = {} if self._over() else await self._receive()
        if self._over():
            self.told = True
            if self._heard is not None:
                self._heard.set()
            return {"type": "http.disconnect"}
        self._body_read = not message.get("more_body", False)
        if message["type"] == "websocket.disconnect":
            self._left = True
        return message

    def _over(self) -> bool:
        return self.ended and not self.torn and self.scope["type"] == "http"

    async def end(self) -> None:
        """End a stream without the handler's help, as its client expects it to end.

        The handler of a response is told that its client is gone, and ``finish``
        sends the last chunk; a record under way may be completed first, for LINGER
        seconds. A WebSocket: the close frame, with code 1012.
        """
        if self.scope["type"] == "websocket" and not self.ended:
            # A client that does not read keeps the frame waiting: TimeoutError is an OSError.
            with contextlib.suppress(OSError, RuntimeError):
                async with asyncio.timeout(LINGER):
                    await self._send({"type": "websocket.close", "code": SERVICE_RESTART})
        self.ended = True
        if self.torn:
            self._whole = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._whole.wait()
        self._wake()

    def _wake(self) -> None:
        """Whoever listens for the client's end waits in the server's ``receive``: wake it."""
        if cycle := self._cycle():
            cycle.message_event.set()

    def _cycle(self) -> RequestResponseCycle | None:
        """The server's side of a request; None for a WebSocket, and without our server."""
        cycle = getattr(self._receive, "__self__", None)
        return cycle if isinstance(cycle, RequestResponseCycle) else None

    async def finish(self) -> None:
        """Complete what ``end`` or ``abort`` interrupted, if it still can be."""
        websocket = self.scope["type"] == "websocket"
        if self.complete or (websocket and self.status):
            return
        if self.torn:
            # Without the last chunk: the client must see that something is missing.
            self.cut = True
        elif self.stream:
            # A client that has stopped reading would keep the last chunk waiting.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    closing = b"" if self.records is None else self.records.closing
                    await self.send({"type": "http.response.body", "body": closing})
        elif self.status == 0:
            await self.decline()

    async def decline(self) -> None:
        """Answer 503, after which the client asks another pod."""
        kind = "websocket.http" if self.scope["type"] == "websocket" else "http"
        headers = [(b"retry-after", b"1"), (b"content-length", b"0"), (b"connection", b"close")]
        await self.send({"type": f"{kind}.response.start", "status": 503, "headers": headers})
        await self.send({"type": f"{kind}.response.body", "body": b""})

    def abort(self, reason: str) -> None:
        """Cancel the handler; ``reason`` reaches it as the cancellation's message."""
        self.cut = self.torn or not self.ended
        if self.task is not None:
            self.task.cancel(reason)

    async def gone(self, timeout: float) -> bool:
        """Wait for the end of it all, background work included; False after ``timeout``."""
        if self.task is None or self.task.done():
            return True
        await asyncio.wait({self.task}, timeout=timeout)
        return self.task.done()
