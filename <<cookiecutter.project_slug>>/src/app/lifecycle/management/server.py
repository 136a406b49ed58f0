"""The management port: probes, status and metrics, served by a thread with its own event loop.

Probes must not queue behind user traffic, and a handler that blocks the main loop must
not fail them. The Service does not expose this port, and nothing on it can stop or drain
the pod.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Mapping

import uvloop

from app.lifecycle.asgi import App, Receive, Scope, Send
from app.lifecycle.management.control import Control
from app.lifecycle.management.one_request import OneRequestServer
from app.lifecycle.management.probes import respond
from app.lifecycle.ports import BACKLOG, StartError

#: Seconds that the thread gets to start, and to end.
THREAD_TIMEOUT = 5.0
#: Seconds that requests in flight get at the end.
FLUSH = 0.5


class Management:
    """Runs the management port (``connections`` at most) and the control socket in a thread."""

    def __init__(
        self, app: App, sock: socket.socket, control: Control, *, connections: int
    ) -> None:
        self._server = OneRequestServer(app, connections)
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
        listener = await self._loop.create_server(self._server, sock=self._socket, backlog=BACKLOG)
        try:
            async with self._control.listening():
                self._started.set()
                await self._stop.wait()
        finally:
            listener.close()
            await self._server.close(FLUSH)


def page(content: Callable[[], str], media_type: bytes) -> App:
    """An ASGI application that answers with the current ``content``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, 200, content().encode(), media_type)

    return app


def management_app(routes: Mapping[str, App]) -> App:
    """An ASGI application that routes by exact path."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        route = routes.get(scope["path"])
        if scope["method"] not in ("GET", "HEAD"):
            await respond(send, 405, b"only GET and HEAD\n", b"text/plain")
        elif route is not None:
            await route(scope, receive, send)
        else:
            known = ", ".join(routes)
            await respond(send, 404, f"not found; available: {known}\n".encode(), b"text/plain")

    return app
