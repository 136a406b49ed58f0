"""Processes that handlers and components have started end with the service.

Found in ``/proc``: children, and theirs. Elsewhere than on Linux only those of
``multiprocessing`` are known.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROC = Path("/proc")
#: Seconds between two looks at processes that have been told to end.
LOOK = 0.02
#: Seconds that what has been killed gets to be gone.
KILLED = 0.2


def children() -> dict[int, str]:
    """Name by number of every process below this one that has not ended.

    Without multiprocessing's own helpers, which end by themselves and clean up.
    """
    found = dict(_below(os.getpid())) if PROC.is_dir() else {}
    if module := sys.modules.get("multiprocessing"):
        found |= {p.pid: p.name for p in module.active_children() if p.pid}
    for name, attribute in (
        ("resource_tracker", "_resource_tracker._pid"),
        ("forkserver", "_forkserver._forkserver_pid"),
    ):
        helper: object = sys.modules.get(f"multiprocessing.{name}")
        for step in attribute.split("."):
            helper = getattr(helper, step, None)
        if isinstance(helper, int):
            found.pop(helper, None)
    return found


def _below(pid: int) -> Iterator[tuple[int, str]]:
    for task in _list(PROC / str(pid) / "task"):
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                if (name := _name(int(child))) is not None:
                    yield int(child), name
                    yield from _below(int(child))


def _list(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return list(folder.iterdir())
    return []


def _name(pid: int) -> str | None:
    """What the kernel calls the process; None if it has ended, reaped or not."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    return None if rest.split()[0] in "ZX" else name


def kill(number: signal.Signals, processes: dict[int, str]) -> None:
    """Send a signal to each."""
    for pid in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


async def end(patience: float) -> tuple[list[str], list[str]]:
    """End all: SIGTERM, and SIGKILL after ``patience`` seconds. Returns who got which, by name."""
    asked = children()
    if not asked:
        return [], []
    kill(signal.SIGTERM, asked)
    await until(lambda: not children(), patience)
    killed = children()
    kill(signal.SIGKILL, killed)
    await until(lambda: not children(), KILLED)
    return _names(asked), _names(killed)


def _names(processes: dict[int, str]) -> list[str]:
    return [f"{name} ({pid})" for pid, name in processes.items()]


async def until(done: Callable[[], object], patience: float) -> None:
    """Look until ``done``, for ``patience`` seconds at most."""
    deadline = time.monotonic() + patience
    while not done() and time.monotonic() < deadline:  # noqa: ASYNC110 (nothing tells of it)
        await asyncio.sleep(LOOK)
