"""One request or WebSocket, from its first byte to the end of its background work."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.lifecycle.asgi import Message, Receive, Scope, Send
from app.lifecycle.http.body import Body, has_body, has_header
from app.lifecycle.http.deadlines import Cause
from app.lifecycle.http.problem import encode, problem
from app.lifecycle.http.records import Records, stream_in
from app.lifecycle.http.request import Request
from app.lifecycle.phase import Lifecycle

#: WebSocket close code for a restart: the client may reconnect (IANA registry of RFC 6455).
SERVICE_RESTART = 1012
SWITCHING_PROTOCOLS = 101
#: The response to a WebSocket that is closed before it is accepted.
FORBIDDEN = 403
#: Seconds to wait for a slow peer: for the rest of a request that was answered early, or
#: until it reads the end of its stream.
LINGER = 1.0
#: Parts of a response that go nowhere before the event loop has a turn.
UNSENT = 100

OnStream = Callable[["Exchange"], None]


class Exchange(Request):
    """An ASGI call in progress; the application gets its ``receive`` and ``send``."""

    # The defaults are class attributes: a request pays only for what it uses.
    complete = False
    #: Tracks where records end, in a stream that must not be cut inside one.
    records: Records | None = None
    #: Set by a handler before its response starts: wait for it even if it is a stream.
    finite = False
    #: When the time that its route or its caller gave it is over, on the monotonic clock;
    #: None until that is computed.
    firm_deadline: float | None = None
    #: Set when the handler of an ended stream sees its client as gone. Exists once ``ended``.
    notified: asyncio.Event
    #: Set when the record in progress at the end is complete. Exists once ``ended``.
    _record_complete: asyncio.Event
    #: When this stream ends, on the monotonic clock; None until that is decided.
    ends_at: float | None = None
    #: Made by a handler that sends its own last message, set when it should.
    turn: asyncio.Event | None = None
    #: The service has answered instead of the handler, which sees its client as gone.
    answered = False
    #: Messages of a WebSocket that its handler has received or sent.
    messages = 0
    #: Parts of the response since its client is gone.
    _unsent = 0
    body_limit = 0  # bytes; 0: no limit
    body: Body | None = None
    _body_read = False

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, lifecycle: Lifecycle, on_stream: OnStream
    ) -> None:
        """``on_stream`` is called when this becomes a stream, and when that stream is complete."""
        self.scope = scope
        self._receive = receive
        self.lifecycle = lifecycle
        self._on_stream = on_stream
        self._send = send
        self.began = time.monotonic()
        self.task: asyncio.Task[object] = asyncio.current_task()  # type: ignore[assignment]

    @property
    def mid_record(self) -> bool:
        """Whether the client is connected and has received only a part of a record."""
        if self.records is None or self.records.whole or self.complete:
            return False
        return not self.client_gone

    def send(self, message: Message) -> Awaitable[None]:
        if self.answered:
            return asyncio.sleep(0)
        kind = message["type"]
        if kind == "http.response.start":
            self._start(message)
        elif kind == "http.response.body":
            self.sent += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.complete = True
                self.responded = time.monotonic()
                if self.stream:
                    self._on_stream(self)
                if self.lifecycle.draining and not self._body_read and has_body(self.scope):
                    return self._read_then_send(message)
            elif self._blocks_loop():
                return asyncio.sleep(0)
            elif self.records is not None:
                return self._send_records(message, self.records)
        elif self.ended:
            # ASGI signals a lost peer by an OSError; Starlette turns it into
            # WebSocketDisconnect.
            raise ConnectionResetError("the service has closed this WebSocket")
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
        if not any(header[0] == b"x-request-id" for header in headers):
            # Not added in place: an application may send the same list again.
            message["headers"] = headers = [*headers, (b"x-request-id", self.request_id.encode())]
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
                self.messages += 1
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
        if not has_header(self.scope, b"expect"):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    while not (self._body_read or self.ended):
                        await self.receive()
        await self._send(message)

    async def receive(self) -> Message:
        if self.answered:
            return {"type": "http.disconnect"}
        if self.body is None and self.scope["type"] == "http":
            self.body = Body(self.scope, self._receive, self._send, self.body_limit)
            if not self.status and self.body.announced_too_large():
                return await self.body.refuse(self)
        # No await before the server's own: Starlette polls for a disconnect in a
        # scope that is cancelled at the first one.
        message = {} if self._closed_to_handler() else await self._receive()
        if self._closed_to_handler():
            self.notified.set()
            return {"type": "http.disconnect"}
        self._body_read = not message.get("more_body", False)
        if message["type"] == "websocket.receive":
            self.messages += 1
        elif message["type"] == "websocket.disconnect":
            self._client_left = True
        elif self.body and self.body.too_large(message.get("body", b"")) and not self.complete:
            return await self.body.refuse(self)
        return message

    def _closed_to_handler(self) -> bool:
        """Whether the handler should see its client as gone."""
        return self.ended and not self.mid_record and self.scope["type"] == "http"

    async def end(self, code: int = SERVICE_RESTART) -> None:
        """End a stream without the handler's help, in the way its client expects.

        The handler of a response sees its client as gone, and ``finish`` sends the last
        chunk; before that, a record in progress gets LINGER seconds to be completed.
        A WebSocket gets a close frame with ``code``.
        """
        if self.scope["type"] == "websocket" and not self.ended:
            # A client that does not read blocks the frame: TimeoutError is an OSError.
            with contextlib.suppress(OSError, RuntimeError):
                async with asyncio.timeout(LINGER):
                    await self._send({"type": "websocket.close", "code": code})
        if not self.ended:
            self.notified, self._record_complete = asyncio.Event(), asyncio.Event()
        self.ended = True
        if self.mid_record:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._record_complete.wait()
        self._wake()

    def _blocks_loop(self) -> bool:
        """Whether the handler has gone on for UNSENT parts although its client is gone.

        The server's ``send`` then returns at once, so a handler that waits for nothing else
        would block the loop. One that does is cancelled where it waits, and cleans up there.
        """
        cycle = getattr(self._receive, "__self__", None)
        if self.ended or not isinstance(cycle, RequestResponseCycle):
            return False
        if not (cycle.disconnected or cycle.transport.is_closing()):
            return False
        self._unsent += 1
        return self._unsent % UNSENT == 0

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
        elif self.status == 0 and self.cause == "deadline":
            await self.answer(504, "the request took longer than its deadline allows")
        elif self.status == 0 and not self.client_gone:
            await self.decline()

    async def decline(self) -> None:
        """Answer 503, so that the client tries another pod."""
        headers = ((b"retry-after", b"1"), (b"connection", b"close"))
        await self.answer(503, "the service is restarting: try again", *headers)

    async def answer(self, status: int, detail: str, *more: tuple[bytes, bytes]) -> None:
        """Answer instead of the handler, with a problem and ``more`` headers."""
        kind = "websocket.http" if self.scope["type"] == "websocket" else "http"
        headers, body = encode(problem(status, detail, self.request_id))
        start = {"type": f"{kind}.response.start", "status": status, "headers": [*headers, *more]}
        await self.send(start)
        await self.send({"type": f"{kind}.response.body", "body": body})

    def cancel(self, cause: Cause, reason: str = "") -> None:
        """Cancel the handler; ``reason`` or the cause becomes the cancellation's message."""
        self.cause = cause
        self.task.cancel(reason or cause)

    def abort(self, reason: str) -> None:
        """Cut off by a stop."""
        self.cut = self.mid_record or not self.ended
        self.cancel("hurried" if self.lifecycle.hurried.is_set() else "drain", reason)

    async def wait_done(self, timeout: float) -> bool:
        """Wait until the handler and its background work are done; False after ``timeout``."""
        if not self.task.done():
            await asyncio.wait({self.task}, timeout=timeout)
        return self.task.done()
