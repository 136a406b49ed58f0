"""uvicorn under this lifecycle: it listens when told, and stops when told.

Only uvicorn's public methods ``startup`` and ``on_tick`` and the attributes they
set are used. ``serve`` is not: it owns the signals, polls ten times a second and
ends in an order that loses requests.
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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.lifecycle.asgi import App
from app.lifecycle.budget import HURRIED
from app.lifecycle.event import Event
from app.lifecycle.http.lifespan import Lifespan
from app.lifecycle.ports import StartError

log = structlog.get_logger(__name__)

#: Seconds that connections get to send out what is buffered when they are closed.
FLUSH = 0.5


class Connections(ServerState):
    """uvicorn's connections, how many there have been, and ``limit``, how many there may be."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.accepted = 0
        self.limit = limit
        #: Connections that were closed at once: the limit was reached.
        self.refused = 0
        #: From the first question on: those that had not sent a request when they were last
        #: looked at, the newest last. A service that nobody asks keeps no such list.
        self._silent: dict[Connection, None] | None = None
        self.lost = asyncio.Event()

    def refuse(self) -> None:
        if not self.refused:
            log.warning("too many connections: more are closed at once", limit=self.limit)
        self.refused += 1

    async def all_lost(self) -> None:
        """Return once no connection is open."""
        while self.connections:
            self.lost.clear()
            await self.lost.wait()

    def made(self, connection: "Connection") -> None:
        """Count a new connection."""
        self.accepted += 1
        if self._silent is not None:
            self._silent[connection] = None

    def gone(self, connection: "Connection") -> None:
        """Forget a connection that is closed."""
        if self._silent is not None:
            self._silent.pop(connection, None)
        self.lost.set()

    def newest_silent(self) -> float:
        """When the newest connection was opened that has not sent a request yet.

        Its request may be on the way: it counts as an arrival. -inf if there is none.
        Only the first call looks through all connections.
        """
        if self._silent is None:
            found = [c for c in self.connections if isinstance(c, Connection) and c.silent()]
            self._silent = dict.fromkeys(sorted(found, key=lambda one: one.opened))
        while self._silent:
            newest = next(reversed(self._silent))
            if newest in self.connections and newest.silent():
                return newest.opened
            del self._silent[newest]
        return -math.inf


class Connection(HttpToolsProtocol):
    """A connection that knows since when it is open."""

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
        state.made(self)

    def silent(self) -> bool:
        """Whether no request has come in on it so far."""
        return not isinstance(self.cycle, RequestResponseCycle)

    def owes(self) -> bool:
        """Whether bytes of an answer wait to be sent; those of a stream do not count."""
        if self.transport.get_write_buffer_size() == 0:
            return False
        return self.silent() or not self.cycle.scope.get("stream")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if isinstance(self.server_state, Connections):
            self.server_state.gone(self)


class HttpServer:
    """An ASGI application on a socket, in the event loop that calls ``start``.

    More than ``limit`` connections are closed as soon as they are accepted.
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
        #: Connections that the kernel had completed when the listener was closed.
        self._waiting: list[asyncio.Task[Any]] = []
        #: Called with a reason when the application's lifespan ends before it is asked to.
        self.on_death: Callable[[str], object] = log.error

    async def start(self) -> None:
        """Run the application's lifespan, then listen.

        Raises StartError when the lifespan fails, whose traceback is in the log, or
        when another process took the port since ``bind``.
        """
        host, port = self._socket.getsockname()[:2]
        self._config.load()
        self._server.lifespan = self._lifespan = Lifespan(self._config, self.on_death)
        try:
            await self._server.startup(sockets=[self._socket])
        except SystemExit:
            raise StartError("the application's lifespan failed to start") from None
        except OSError as error:  # somebody else listens there since it was bound
            host, port = self._socket.getsockname()[:2]
            raise StartError(f"{host} port {port} cannot be listened on: {error}") from None
        if not _listens(self._socket):
            raise StartError(
                f"{host} port {port} cannot be listened on: "
                "another process took it while this one started"
            )
        self._ticker = asyncio.create_task(self._tick(), name="date header")

    async def _tick(self) -> None:
        while True:
            await self._server.on_tick(0)
            await asyncio.sleep(1)

    def flushing(self) -> int:
        """How many connections have not yet sent out everything that was answered."""
        return sum(
            isinstance(connection, Connection) and connection.owes()
            for connection in self.connections.connections
        )

    def close_listener(self) -> int:
        """Take no more connections; those that are open go on.

        The kernel completes connections before this process hears of them, and resets
        them when the listener closes: take those too, and return how many there were.
        """
        waiting = self._accept_waiting()
        for listener in self._server.servers:
            listener.close()
        self._socket.close()
        return waiting

    def _accept_waiting(self) -> int:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # there are no more, or it listens no more
            while len(self._waiting) < self._config.backlog:
                sock, _ = self._socket.accept()
                self._waiting.append(
                    loop.create_task(loop.connect_accepted_socket(self._connection, sock))
                )
        return len(self._waiting)

    def _connection(self) -> Connection:
        return Connection(self._config, self.connections, self._server.lifespan.state)

    def close_idle(self) -> None:
        """Close what waits for a request; what is being answered closes after its answer."""
        for connection in list(self.connections.connections):
            if isinstance(connection, Connection):  # not a WebSocket, which would get a 500
                connection.shutdown()

    async def close_connections(self, flush: float = FLUSH) -> int:
        """Close them all; what still sends gets ``flush`` seconds. Return how many it cut off."""
        for connection in list(self.connections.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(flush):
                await self.connections.all_lost()
        cut_off = self.flushing()
        for connection in list(self.connections.connections):
            connection.transport.abort()
        if self._ticker is not None:
            self._ticker.cancel()
        return cut_off

    async def end_lifespan(self, budget: float, hurried: Event) -> bool:
        """Run the shutdown part of the application's lifespan.

        False when it failed, or when it was not done within ``budget`` seconds, which
        are fewer when ``hurried``: HURRIED of ``budget.py``.
        """
        if self._lifespan is None or not self._lifespan.started:
            return True
        ending = asyncio.create_task(self._lifespan.shutdown(), name="lifespan shutdown")
        await hurried.or_done({ending}, budget, then=HURRIED)
        return ending.done() and not self._lifespan.failed


def _listens(sock: socket.socket) -> bool:
    """uvloop closes a socket on which it cannot listen, and says nothing."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:
        return False
