"""uvicorn, but this lifecycle decides when it listens and how it stops.

Only uvicorn's public methods ``startup`` and ``on_tick`` and the attributes they
set are used. ``serve`` is not: it handles the signals, polls ten times a second and
stops in an order that loses requests.
"""

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Callable
from typing import Any

import structlog
import uvicorn
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.lifecycle.asgi import App
from app.lifecycle.budget import HURRIED
from app.lifecycle.event import Event
from app.lifecycle.ports import StartError

log = structlog.get_logger(__name__)

#: Seconds that connections get to send what is buffered when they are closed.
FLUSH = 0.5


class Connections(ServerState):
    """uvicorn's open connections; counts them and closes those beyond ``limit``."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.accepted = 0
        self.limit = limit
        #: Connections that were closed at once because of the limit.
        self.refused = 0
        #: Connections that had no request yet when last checked, the newest last.
        #: None until ``newest_unused`` is first called: only a drain needs it.
        self._unused: dict[Connection, None] | None = None
        self._removed = asyncio.Event()

    def refuse(self) -> None:
        if not self.refused:
            log.warning("connection limit reached: closing new connections", limit=self.limit)
        self.refused += 1

    async def all_closed(self) -> None:
        """Return once no connection is open."""
        while self.connections:
            self._removed.clear()
            await self._removed.wait()

    def add(self, connection: "Connection") -> None:
        self.accepted += 1
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
    """A connection that knows when it was opened."""

    opened: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        state = self.server_state
        assert isinstance(state, Connections)  # noqa: S101
        if len(state.connections) >= state.limit:
            self.transport = transport
            transport.abort()
            state.refuse()
            return
        super().connection_made(transport)
        self.opened = time.monotonic()
        state.add(self)

    def unused(self) -> bool:
        """Whether no request has arrived on it."""
        return not isinstance(self.cycle, RequestResponseCycle)

    def flushing(self) -> bool:
        """Whether a part of a response is still buffered; streams do not count."""
        if self.transport.get_write_buffer_size() == 0:
            return False
        return self.unused() or not self.cycle.scope.get("stream")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if isinstance(self.server_state, Connections):
            self.server_state.remove(self)


class HttpServer:
    """An ASGI application on a socket, in the event loop that calls ``start``.

    Connections beyond ``limit`` are closed as soon as they are accepted.
    """

    def __init__(self, app: App, sock: socket.socket, *, limit: int, **options: Any) -> None:
        self._socket = sock
        self._config = uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # see ``forwarded``
            **options,
        )
        self._server = uvicorn.Server(self._config)
        self._server.servers = []
        self.connections = self._server.server_state = Connections(limit)
        self._lifespan: Lifespan | None = None
        self._ticker: asyncio.Task[None] | None = None
        #: Tasks that accept the connections the kernel had ready when the listener closed.
        self._accepting: list[asyncio.Task[Any]] = []
        #: Called with a reason when the application's lifespan ends before it is told to.
        self.on_death: Callable[[str], object] = log.error

    async def start(self) -> None:
        """Run the startup part of the application's lifespan, then listen.

        Raises StartError when the lifespan fails, with its traceback in the log, or
        when another process took the port since ``bind``.
        """
        host, port = self._socket.getsockname()[:2]
        self._config.load()
        self._server.lifespan = self._lifespan = Lifespan(self._config, self.on_death)
        reason: object = "another process took it while this one started"
        try:
            await self._server.startup(sockets=[self._socket])
            # uvloop closes a socket on which it cannot listen, and raises nothing.
            listening = _is_listening(self._socket)
        except SystemExit:
            raise StartError("the application's lifespan failed to start") from None
        except OSError as error:
            listening, reason = False, error
        if not listening:
            raise StartError(f"cannot listen on {host} port {port}: {reason}")
        self._ticker = asyncio.create_task(self._tick(), name="date header")

    async def _tick(self) -> None:
        while True:
            await self._server.on_tick(0)
            await asyncio.sleep(1)

    def flushing(self) -> int:
        """How many connections have a part of a response still to send."""
        return sum(
            isinstance(connection, Connection) and connection.flushing()
            for connection in self.connections.connections
        )

    def close_listener(self) -> int:
        """Accept no more connections; open ones stay open.

        The kernel completes connections before this process accepts them, and resets
        them when the listener closes. They are accepted first; returns how many.
        """
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # no more connections, or no longer listening
            while len(self._accepting) < self._config.backlog:
                sock, _ = self._socket.accept()
                accept = loop.connect_accepted_socket(self._connection, sock)
                self._accepting.append(loop.create_task(accept))
        for listener in self._server.servers:
            listener.close()
        self._socket.close()
        return len(self._accepting)

    def _connection(self) -> Connection:
        return Connection(self._config, self.connections, self._server.lifespan.state)

    def close_idle(self) -> None:
        """Close connections without a request; busy ones close after their response."""
        for connection in list(self.connections.connections):
            if isinstance(connection, Connection):  # not a WebSocket, which would get a 500
                connection.shutdown()

    async def close_connections(self, flush: float = FLUSH) -> int:
        """Close all within ``flush`` seconds; return how many could not send everything."""
        for connection in list(self.connections.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(flush):
                await self.connections.all_closed()
        cut_off = self.flushing()
        for connection in list(self.connections.connections):
            connection.transport.abort()
        if self._ticker is not None:
            self._ticker.cancel()
        return cut_off

    async def end_lifespan(self, budget: float, hurried: Event) -> bool:
        """Run the shutdown part of the application's lifespan.

        False when it failed or took longer than ``budget`` seconds; HURRIED seconds
        (see ``budget``) when ``hurried``.
        """
        if self._lifespan is None or not self._lifespan.started:
            return True
        ending = asyncio.create_task(self._lifespan.shutdown(), name="lifespan shutdown")
        await hurried.or_done({ending}, budget, then=HURRIED)
        return ending.done() and not self._lifespan.failed


def _is_listening(sock: socket.socket) -> bool:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:  # it is closed
        return False


class Lifespan(LifespanOn):
    """The application's lifespan (ASGI); without a complete startup nothing is served.

    uvicorn takes an error outside the protocol for an application without lifespan
    support, and serves without what the lifespan should have opened. Here an error, or
    a return before ``lifespan.startup.complete``, fails the start. ``on_death`` is
    called with a reason when the lifespan ends before it is told to, for example because
    its task group failed.
    """

    def __init__(self, config: uvicorn.Config, on_death: Callable[[str], object]) -> None:
        super().__init__(config)
        self._on_death = on_death
        self._told_to_end = False
        #: Whether the application has completed its startup.
        self.started = False

    @property
    def failed(self) -> bool:
        """Whether it raised, or reported a failed shutdown."""
        return self.error_occurred or self.shutdown_failed

    async def startup(self) -> None:
        await super().startup()
        self.should_exit = not self.started

    async def shutdown(self) -> None:
        self._told_to_end = True
        await super().shutdown()

    async def send(self, message: LifespanSendMessage) -> None:
        await super().send(message)
        self.started = self.started or message["type"] == "lifespan.startup.complete"

    async def main(self) -> None:
        """Call the application; LifespanOn runs this in a task."""
        asgi = {"version": self.config.asgi_version, "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": self.state}
        try:
            await self.config.loaded_app(scope, self.receive, self.send)
        except asyncio.CancelledError:  # by the stop, which reports what it cancels
            self.error_occurred = True
        except BaseException as error:
            self.error_occurred = True
            if not (self.startup_failed or self.shutdown_failed):  # their traceback is logged
                log.error("the application's lifespan failed", exc_info=error)
        else:
            if not self.started:
                log.error("the application returned before its lifespan startup was complete")
        finally:
            self.startup_event.set()
            self.shutdown_event.set()
        if self.started and not self._told_to_end:
            self._on_death("the application's lifespan ended by itself")
