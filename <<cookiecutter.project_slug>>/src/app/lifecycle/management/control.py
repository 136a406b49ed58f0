"""The control socket: the ``drain`` command starts a stop, and the service answers when drained.

``level`` tells the lowest level that is logged, and ``level debug`` changes it.
A Unix socket in the pod's own ``/run/app``: whoever can reach it can already run programs
in the container. The management thread serves it, so that readiness becomes false even
while the main loop is blocked.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.report import Journal
from app.observability.logging import LEVELS, level, set_level

log = structlog.get_logger(__name__)

#: Seconds that a hook gets to read its last line before the process exits.
LAST_READ = 1.0
#: Maximum length of a command in bytes, and seconds to send it from the connection on.
COMMAND_BYTES, COMMAND_TIMEOUT = 64, 5.0


class Control:
    """Serves ``path``; the line ``drain`` requests a stop and follows it, ``level`` is the log's.

    At most ``clients`` are connected. One more closes the oldest that has sent no command,
    or the new one if all wait for the drain.
    """

    def __init__(self, path: Path, lifecycle: Lifecycle, journal: Journal, *, clients: int) -> None:
        self._path = path
        self._lifecycle = lifecycle
        self._journal = journal
        self._limit = clients
        # Dictionaries as ordered sets, oldest first.
        self._clients: dict[asyncio.Task[None], None] = {}
        self._idle: dict[asyncio.Task[None], None] = {}

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen while the context is open; when it closes, wait for the hooks to read.

        Raises OSError with one sentence as its message when the socket cannot be opened.
        """
        self._remove_stale()
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(
                self._serve, str(self._path), limit=COMMAND_BYTES
            )
        except OSError as error:
            raise OSError(
                f"cannot open the control socket {self._path} ({error.strerror}): "
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
                timeout = min(LAST_READ, self._lifecycle.remaining() / 4)
                await asyncio.wait(self._clients, timeout=timeout)
            self._path.unlink(missing_ok=True)

    def _remove_stale(self) -> None:
        """Remove the socket of a process that was killed; raise OSError if one still listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._path))
            except OSError:
                self._path.unlink(missing_ok=True)
                return
        raise OSError(
            f"another service listens on the control socket {self._path}: "
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
                    writer.write(_level(command.decode("utf-8", "replace")))
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
        self._lifecycle.hook_pending = True
        self._lifecycle.drain("preStop hook")
        async for step in self._journal.follow():
            writer.write(f"step {step.text}\n".encode())
            await writer.drain()
            if step.phase >= Phase.STOPPING:
                break
        # Before the answer, which the kubelet's SIGTERM follows at once.
        self._lifecycle.hook_pending = False
        cut = self._journal.cut
        last = f"cut {', '.join(cut)}" if cut else "drained nothing was cut off"
        writer.write(f"{last}\n".encode())
        await writer.drain()


def _level(command: str) -> bytes:
    """Answer ``level``, and set the level of the log if it names one."""
    name, _, wanted = command.partition(" ")
    if name != "level":
        return b"error unknown command; available: drain, level\n"
    if wanted and wanted not in LEVELS:
        return f"error {wanted!r} is not a level: use {', '.join(LEVELS)}\n".encode()
    if wanted and wanted != level():
        log.warning("log level changed", before=level(), now=wanted)
        set_level(wanted)
    return f"level {level()}\n".encode()


async def _command(reader: asyncio.StreamReader) -> bytes:
    """The first line; empty after COMMAND_TIMEOUT, an unknown command if it is too long."""
    try:
        async with asyncio.timeout(COMMAND_TIMEOUT):
            return (await reader.readline()).strip()
    except TimeoutError:
        return b""
    except ValueError:  # longer than the reader's limit
        return b"too long"
