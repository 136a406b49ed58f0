"""Processes that cannot outlive the drill.

Each process leads a group of its own, so that Ctrl-C reaches the drill alone
and a kill reaches whatever the process started. Leaving the ``async with`` block
kills what is left; should the drill itself be killed, a guard process does it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from drill.errors import DrillError


class Process:
    """One process and its group."""

    def __init__(self, process: asyncio.subprocess.Process, owner: "Processes") -> None:
        self._process = process
        self._owner = owner

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, negative for the signal that ended it; its whole group is gone."""
        code = await self._process.wait()
        self._owner.kill_group(self.pid)
        return code

    def terminate(self) -> None:
        # Not by the process's own method: it may reap what has just ended, and its code is lost.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class Processes:
    """Starts processes and answers for their end."""

    async def __aenter__(self) -> "Processes":
        self._running: dict[int, asyncio.subprocess.Process] = {}
        guards_end, self._pipe = os.pipe()
        guard = Path(__file__).with_name("guard.py")
        self._guard = await asyncio.create_subprocess_exec(
            sys.executable, "-I", guard, stdin=guards_end, start_new_session=True
        )
        os.close(guards_end)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = list(self._running.values())
        for process in left:
            self.kill_group(process.pid)
        await asyncio.gather(*[process.wait() for process in left])
        os.close(self._pipe)
        await self._guard.wait()

    async def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> Process:
        """Starts a command whose output goes to ``log``."""
        with log.open("ab") as output:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    env=environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise DrillError(
                    f"cannot start {command[0]!r}: {error.strerror}; name another command."
                ) from error
        self._running[process.pid] = process
        self._tell(f"+{process.pid}")
        return Process(process, self)

    def kill_group(self, group: int) -> None:
        if self._running.pop(group, None):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
            self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        with suppress(BrokenPipeError):
            os.write(self._pipe, f"{line}\n".encode())
