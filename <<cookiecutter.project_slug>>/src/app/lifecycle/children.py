"""Child processes: none of them outlives the service.

Light standard library modules only: ``signals`` imports this before anything else.
"""

import os
import signal
import stat
import sys
import time
from collections.abc import Iterable
from typing import NamedTuple

#: Linux lists all processes; elsewhere only those of ``multiprocessing`` are known.
PROC = "/proc"
LINUX = sys.platform == "linux"
#: Helpers of multiprocessing: they end with the service and clean up after it.
HELPERS = (b"multiprocessing.resource_tracker import", b"multiprocessing.forkserver import")
#: Seconds between two checks whether processes have ended.
LOOK = 0.02


class Child(NamedTuple):
    """A process below this one: a child, or a child's child."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"

    def runs(self) -> bool:
        """Whether it still runs; a zombie does not."""
        try:
            return _stat(self.pid)[1] != "Z"
        except OSError:
            return not LINUX and self in _of_multiprocessing()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        try:
            os.kill(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return


def children() -> list[Child]:
    """All running processes below this one, parents first."""
    named = _of_multiprocessing()
    if not LINUX:
        return named
    names = {child.pid: child.name for child in named}
    below: dict[int, list[Child]] = {}
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            pid = int(entry.name)
            try:
                name, state, parent = _stat(pid)
            except OSError:  # it has just ended
                continue
            if state != "Z":
                below.setdefault(parent, []).append(Child(pid, names.get(pid, name)))
    direct = below.get(os.getpid(), [])
    found, level = [child for child in direct if not _helps(child)], direct
    while level := [child for parent in level for child in below.get(parent.pid, [])]:
        found += level
    return found


async def end_children(seconds: float) -> tuple[list[Child], list[Child]]:
    """Send SIGTERM to all processes below this one, and SIGKILL after ``seconds``.

    Returns those that SIGTERM ended, and those that were killed.
    """
    from asyncio import sleep

    found = running = children()
    deadline = time.monotonic() + seconds
    for child in found:
        child.send(signal.SIGTERM)
    while running := [child for child in running if child.runs()]:
        if time.monotonic() > deadline:
            break
        await sleep(LOOK)
    for child in running:
        child.send(signal.SIGKILL)
    return [child for child in found if child not in running], running


def kill_children() -> None:
    """Send SIGKILL to all processes below this one."""
    for child in children():
        child.send(signal.SIGKILL)


def release_after_fork(ports: Iterable[int], path: str) -> None:
    """Close the sockets of ``ports`` and the Unix socket ``path`` in forked children.

    A child would keep connections open that the service has closed, and accept
    connections of the next service at this address.
    """
    import socket

    addresses = {path, *ports}

    def ours(number: int) -> bool:
        """Whether this descriptor is such a listener or a connection of one."""
        sock = None
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                return False
            sock = socket.socket(fileno=number)
            address = sock.getsockname()
        except OSError:
            return False
        finally:
            if sock is not None:
                sock.detach()
        return (address[1] if isinstance(address, tuple) else address) in addresses

    def release() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for number in [int(entry.name) for entry in os.scandir("/dev/fd")]:
            if ours(number):
                # Not closed: an inherited object of the event loop would later close
                # whatever file got the same number.
                os.dup2(null, number, inheritable=False)
        os.close(null)

    os.register_at_fork(after_in_child=release)


def _stat(pid: int) -> tuple[str, str, int]:
    """Name, state and parent; see proc_pid_stat(5). A name may contain spaces and brackets."""
    text = _read(pid, "stat").decode("utf-8", "replace")
    name, _, rest = text.partition("(")[2].rpartition(")")
    state, parent = rest.split()[:2]
    return name, state, int(parent)


def _read(pid: int, file: str) -> bytes:
    number = os.open(f"{PROC}/{pid}/{file}", os.O_RDONLY)
    try:
        return os.read(number, 4096)
    finally:
        os.close(number)


def _helps(child: Child) -> bool:
    try:
        command = _read(child.pid, "cmdline")
    except OSError:
        return False
    return any(helper in command for helper in HELPERS)


def _of_multiprocessing() -> list[Child]:
    """The children that multiprocessing knows, with its names."""
    if (module := sys.modules.get("multiprocessing")) is None:
        return []
    return [Child(child.pid, child.name) for child in module.active_children() if child.pid]
