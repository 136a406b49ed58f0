"""The connections of the main port: what each is doing, and since when."""

import asyncio
import math
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic
from typing import Literal, get_args

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.lifecycle.http.deadlines import Cause
from app.lifecycle.http.keep_alive import KeepAlive
from app.lifecycle.http.limits import Limits
from app.lifecycle.http.problem import encode, problem

log = structlog.get_logger(__name__)

#: Why the service closed a connection that had not asked for it.
Reason = Literal["silent", "header", "headers_too_large", "body", "write", "idle"]

#: What is being read from a connection: nothing yet, a request line and headers, or a body.
NOTHING, HEAD, BODY = range(3)


@dataclass(slots=True)
class Pace:
    """How fast a client sends or takes something."""

    #: Which body it is of: that which began then.
    began: float
    #: Bytes when last looked at.
    total: int
    #: Seconds that the client may still fall behind.
    credit: float
    #: Whether the client waited for the handler when last looked at.
    waited: bool = False


def reset(transport: asyncio.Transport) -> None:
    """Close at once and discard what is buffered, in the kernel too.

    After a plain abort the kernel holds megabytes for a client that does not read, for
    minutes: it goes on sending what it has taken.
    """
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Connections(ServerState):
    """uvicorn's connections, with counts; ``limit`` is how many may be open."""

    def __init__(self, limit: int, limits: Limits) -> None:
        super().__init__()
        self.accepted = 0
        self.limit = limit
        self.limits = limits
        #: Connections that were closed at once because of the limit.
        self.refused = 0
        #: How many connections were closed for each reason.
        self.closed: dict[Reason, int] = dict.fromkeys(get_args(Reason), 0)
        self.keep_alive = KeepAlive(limits.keep_alive_least, limits.keep_alive)
        #: Open connections that are not WebSockets.
        self.http = 0
        #: WebSockets that were refused because of their limit.
        self.websockets_refused = 0
        #: Connections that had no request yet when last checked, the newest last.
        #: None until ``newest_unused`` is first called: only a drain needs it.
        self._unused: dict[Connection, None] | None = None
        self._removed = asyncio.Event()

    @property
    def websockets(self) -> int:
        """How many WebSockets are open."""
        return len(self.connections) - self.http

    async def all_closed(self) -> None:
        """Return once no connection is open."""
        while self.connections:
            self._removed.clear()
            await self._removed.wait()

    def add(self, connection: "Connection") -> None:
        self.accepted += 1
        self.http += 1
        if self._unused is not None:
            self._unused[connection] = None

    def remove(self, connection: "Connection") -> None:
        if self._unused is not None:
            self._unused.pop(connection, None)
        self._removed.set()

    def newest_unused(self) -> float:
        """When the newest connection without a request was opened; -inf if there is none.

        Its request may be on the way: the drain treats it as a new request. Only the
        first call goes through all connections.
        """
        if self._unused is None:
            unused = [c for c in self.connections if isinstance(c, Connection) and c.unused()]
            self._unused = dict.fromkeys(sorted(unused, key=lambda one: one.opened))
        while self._unused:
            newest = next(reversed(self._unused))
            if newest in self.connections and newest.unused():
                return newest.opened
            del self._unused[newest]
        return -math.inf


class Connection(HttpToolsProtocol):
    """A connection that knows what it waits for; ``edge`` closes it when that takes too long.

    No timer is armed and ``on_header`` is not overridden: either would cost each request
    more than all that is done here.
    """

    opened: float
    _most_room: int
    server_state: Connections
    #: What is being read: NOTHING, HEAD or BODY.
    reading = NOTHING
    #: When that began, or the last response was complete; on the monotonic clock.
    since = 0.0
    #: Bytes read so far.
    received = 0
    #: Bytes that the head which is being read may still have; less than 0: too large.
    _room = 0
    #: Kept by ``edge``, for a client that is slow.
    body_pace: Pace | None = None
    write_pace: Pace | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        state = self.server_state
        if len(state.connections) >= state.limit:
            self.transport = transport
            transport.abort()
            if not state.refused:
                log.warning("connection limit reached: closing new connections", limit=state.limit)
            state.refused += 1
            return
        super().connection_made(transport)
        self._most_room = state.limits.header_bytes
        self.opened = self.since = monotonic()
        state.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.connections:
            self.server_state.http -= 1
        super().connection_lost(exc)
        self.server_state.remove(self)

    # -- what is read -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        size = len(data)
        self.received += size
        if self.reading != BODY:
            if self.reading == NOTHING:
                self.reading = HEAD
                self.since = monotonic()
                self._room = self._most_room
            self._room -= size
            if self._room < 0:
                self._read_head(data)
                return
        super().data_received(data)

    def _read_head(self, data: bytes) -> None:
        """Read what is within the limit of a head, and the rest if the head is complete."""
        super().data_received(data[: self._room])
        if self.reading == HEAD and not self.transport.is_closing():
            self.refuse(431, "headers_too_large", "the headers of the request are too large")
        elif self in self.connections and not self.transport.is_closing():
            super().data_received(data[self._room :])

    def on_headers_complete(self) -> None:
        self.reading = BODY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.reading = NOTHING
        if self.cycle is not None and self.cycle.response_complete:
            self.since = monotonic()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if self.pipeline:
            super().on_response_complete()
            return
        # As uvicorn does it, but for the timer.
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            if self.flow.read_paused:
                self.flow.resume_reading()
            if self.reading != BODY:  # else the rest of the body would get its time anew
                self.since = monotonic()

    def handle_websocket_upgrade(self) -> None:
        state = self.server_state
        most = state.limits.websockets
        if most is not None and state.websockets >= most:
            state.websockets_refused += 1
            self._answer(503, "too many WebSockets are open", (b"retry-after", b"1"))
            return
        state.http -= 1
        super().handle_websocket_upgrade()

    # -- what it is doing ---------------------------------------------------------------

    def unused(self) -> bool:
        """Whether no request has arrived on it."""
        return not isinstance(self.cycle, RequestResponseCycle)

    def responding(self) -> bool:
        """Whether a response is not complete; its client may still be sending the request."""
        return not self.unused() and not self.cycle.response_complete

    def waits_for_handler(self) -> bool:
        """Whether the handler has not read what the client has sent of its body."""
        if not self.responding():
            return False
        unread = self.flow.read_paused or self.cycle.message_event.is_set()
        return unread or self.cycle.waiting_for_100_continue

    def flushing(self) -> bool:
        """Whether a part of a response is still buffered; streams do not count."""
        if self.transport.get_write_buffer_size() == 0:
            return False
        return self.unused() or not self.cycle.scope.get("stream")

    # -- how it is closed ---------------------------------------------------------------

    def refuse(self, status: int, reason: Reason, detail: str) -> None:
        """Answer the request that is being read with a problem, if that is possible; close."""
        self.server_state.closed[reason] += 1
        if self.reading == HEAD:
            answerable = not self.responding()
        else:
            answerable = self.responding() and not self.cycle.response_started
            self.blame("slow body", status if answerable else 0)
        if answerable:
            self._answer(status, detail)
        else:
            reset(self.transport)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn answers as text."""
        self._answer(400, "this is no valid HTTP request")

    def blame(self, cause: Cause, status: int = 0) -> None:
        """Tell the request in progress, if any, why its client is gone.

        ``status`` is what the client was answered instead of by the handler; 0: nothing.
        """
        if self.responding():
            self.cycle.scope["closed"] = (cause, status)  # type: ignore[typeddict-unknown-key]

    def _answer(self, status: int, detail: str, *more: tuple[bytes, bytes]) -> None:
        title = HTTPStatus(status).phrase
        headers, body = encode(problem(status, detail))
        headers = [*self.server_state.default_headers, *headers, *more, (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, title.encode(), lines, body))
        self.transport.close()
