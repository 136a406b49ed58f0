"""The control socket: ``drain`` asks, the service answers when drained.

A Unix socket in the pod's own ``/run/app``: whoever can reach it can already run
programs in the container. It is served by the management thread, so a blocked
main loop does not keep readiness from going false.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.report import Journal

#: Seconds that a hook gets to read its last line before the process goes away.
FAREWELL = 1.0
#: Bytes of a command.
COMMAND_BYTES = 64
#: Seconds from a client's first byte to the end of its command.
COMMAND = 5.0


class Control:
    """Serves ``path``; one line ``drain`` asks for a stop and follows it.

    At most ``clients`` are connected: for one more the oldest is closed that has not
    asked for anything, or that one itself if all wait for the drain.
    """

    def __init__(self, path: Path, lifecycle: Lifecycle, journal: Journal, *, clients: int) -> None:
        self._path = path
        self._lifecycle = lifecycle
        self._journal = journal
        self._limit = clients
        # Dictionaries keep the order: the oldest comes first.
        self._clients: dict[asyncio.Task[None], None] = {}
        self._idle: dict[asyncio.Task[None], None] = {}

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen while the context is open; at its end let the hooks read to the end.

        Raises OSError with a sentence when another service has this socket.
        """
        self._remove_stale()
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(
                self._serve, str(self._path), limit=COMMAND_BYTES
            )
        except OSError as error:
            raise OSError(
                f"the control socket {self._path} cannot be opened ({error.strerror}): "
                "set APP_CONTROL_SOCKET to a path in a writable directory"
            ) from None
        finally:
            os.umask(before)
        try:
            yield
        finally:
            server.close()
            for idle in list(self._idle):
                self._close(idle)
            if self._clients:
                patience = min(FAREWELL, self._lifecycle.remaining() / 4)
                await asyncio.wait(self._clients, timeout=patience)
            self._path.unlink(missing_ok=True)

    def _remove_stale(self) -> None:
        """A process that was killed leaves its socket behind; a living one keeps it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except OSError:
                self._path.unlink(missing_ok=True)
                return
        raise OSError(
            f"another service has the control socket {self._path}: "
            "stop it or set APP_CONTROL_SOCKET to another path"
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        self._clients[task] = self._idle[task] = None
        if len(self._clients) > self._limit:
            self._close(next(iter(self._idle)))
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                command = await _command(reader)
                self._idle.pop(task, None)
                if command == b"drain":
                    await self._drain(writer)
                    await reader.read(1)
                elif command:
                    writer.write(b"error unknown command; there is: drain\n")
        finally:
            self._forget(task)
            writer.close()

    def _close(self, client: "asyncio.Task[None]") -> None:
        self._forget(client)
        client.cancel()

    def _forget(self, client: "asyncio.Task[None]") -> None:
        self._clients.pop(client, None)
        self._idle.pop(client, None)

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        self._lifecycle.hook_waits = True
        self._lifecycle.drain("preStop hook")
        async for step in self._journal.follow():
            writer.write(f"step {step.text}\n".encode())
            await writer.drain()
            if step.phase >= Phase.STOPPING:
                break
        # Before it is told: the kubelet's SIGTERM follows at once.
        self._lifecycle.hook_waits = False
        cut = self._journal.cut
        last = f"cut {', '.join(cut)}" if cut else "drained nothing was cut off"
        writer.write(f"{last}\n".encode())
        await writer.drain()


async def _command(reader: asyncio.StreamReader) -> bytes:
    """The first line; empty when it does not come in time, and what is no command if too long."""
    try:
        async with asyncio.timeout(COMMAND):
            return (await reader.readline()).strip()
    except TimeoutError:
        return b""
    except ValueError:  # longer than the reader's limit
        return b"too long"
