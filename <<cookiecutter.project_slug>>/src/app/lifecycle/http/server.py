"""uvicorn, but this lifecycle decides when it listens and how it stops.

Only uvicorn's public methods ``startup`` and ``on_tick`` and the attributes they
set are used. ``serve`` is not: it handles the signals, polls ten times a second and
stops in an order that loses requests.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

import structlog
import uvicorn
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

from app.lifecycle.asgi import App
from app.lifecycle.budget import HURRIED
from app.lifecycle.event import Event
from app.lifecycle.http.connections import Connection, Connections
from app.lifecycle.http.edge import PERIOD, Edge
from app.lifecycle.http.limits import Limits
#% if cookiecutter.tls == "yes"
from app.lifecycle.http.tls import Tls, TlsPort
#% endif
from app.lifecycle.ports import StartError

log = structlog.get_logger(__name__)

#% if cookiecutter.tls == "yes"
#: Seconds that a handshake may take which a stop waits for.
HANDSHAKE = 0.3
#% endif
#: Seconds that connections get to send what is buffered when they are closed.
FLUSH = 0.5
#: Seconds that the event loop gets to read bytes that have already arrived.
SETTLE = 0.01


class HttpServer:
    """An ASGI application on a socket; connections beyond ``limit`` are closed at once.

    ``limits`` is what each connection may take; ``options`` are uvicorn's.
    """

    def __init__(
        self,
        app: App,
        sock: socket.socket,
        *,
        limit: int,
        limits: Limits | None = None,
#% if cookiecutter.tls == "yes"
        tls: TlsPort | None = None,
#% endif
        **options: Any,
    ) -> None:
        self._socket = sock
        limits = limits or Limits()
        self._config = uvicorn.Config(
            app,
            http=Connection,
            log_config=None,
            access_log=False,
            proxy_headers=False,  # see ``forwarded``
            ws_max_size=limits.message_bytes,
            ws_ping_interval=limits.ping,
            ws_ping_timeout=limits.pong,
            **options,
        )
#% if cookiecutter.tls == "yes"
        if tls is not None:
            self._config.http = tls.behind(Connection)  # type: ignore[assignment]
#% endif
        self._server = uvicorn.Server(self._config)
        self._server.servers = []
        self.connections = self._server.server_state = Connections(limit, limits)
        self.edge = Edge(self.connections)
        self._lifespan: Lifespan | None = None
        self._ticker: asyncio.Task[None] | None = None
        #: Tasks that accept the connections the kernel had ready when the listener closed.
        self._accepting: list[asyncio.Task[Any]] = []
        #: Called with a reason when the application's lifespan ends before it is told to.
        self.on_death: Callable[[str], object] = log.error

    async def start(self) -> None:
        """Run the startup part of the application's lifespan, then listen.

        Raises StartError when the lifespan fails (its traceback is logged), or when another
        process took the port since ``bind``.
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
        self._ticker = asyncio.create_task(self._tick(), name="date header and edge")

    async def _tick(self) -> None:
        while True:
            await self._server.on_tick(0)
            await asyncio.sleep(PERIOD)
            # After a blocked loop, clients must not pay for bytes that wait to be read.
            await asyncio.sleep(SETTLE)
            await self.edge.sweep(time.monotonic())

    def flushing(self) -> int:
        """How many connections have a part of a response still to send."""
        return sum(isinstance(c, Connection) and c.flushing() for c in self.connections.connections)

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

#% if cookiecutter.tls == "yes"
    async def finish_handshakes(self) -> None:
        """Let clients that have just connected come as far as others without TLS are at once."""
        since, waited = time.monotonic() - HANDSHAKE, 0
        while waited < HANDSHAKE / SETTLE and any(
            isinstance(c, Connection)
            and isinstance(c.transport, Tls)
            and not c.transport.ready
            and c.opened > since
            for c in self.connections.connections
        ):
            waited += 1
            await asyncio.sleep(SETTLE)
        if waited:  # the request comes behind the handshake
            await asyncio.sleep(SETTLE)

    def _connection(self) -> asyncio.Protocol:
        return self._config.http_protocol_class(  # type: ignore[call-arg]
            self._config, self.connections, self._server.lifespan.state
        )

#% else
    def _connection(self) -> Connection:
        return Connection(self._config, self.connections, self._server.lifespan.state)

#% endif
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

    async def end_lifespan(
        self, budget: float, hurried: Event, on_late: Callable[[], object]
    ) -> bool:
        """Run the shutdown part of the application's lifespan.

        False when it failed or took longer than ``budget`` seconds, or HURRIED if ``hurried``;
        ``on_late`` is called in the latter cases.
        """
        lifespan = self._lifespan
        if lifespan is None or not lifespan.started:
            return True
        ending = asyncio.create_task(lifespan.shutdown(), name="lifespan shutdown")
        await hurried.or_done({ending}, budget, then=HURRIED)
        if not ending.done():
            on_late()
        return ending.done() and not (lifespan.error_occurred or lifespan.shutdown_failed)


def _is_listening(sock: socket.socket) -> bool:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:  # it is closed
        return False


class Lifespan(LifespanOn):
    """The application's lifespan (ASGI); without a complete startup nothing is served.

    uvicorn takes an error outside the protocol for a lack of lifespan support, and serves
    without what the lifespan should have opened. Here an error, or a return before
    ``lifespan.startup.complete``, fails the start. ``on_death`` is called with a reason
    when the lifespan ends before it is told to, for example when its task group fails.
    """

    def __init__(self, config: uvicorn.Config, on_death: Callable[[str], object]) -> None:
        super().__init__(config)
        self._on_death = on_death
        self._told_to_end = False
        #: Whether the application has completed its startup.
        self.started = False

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
