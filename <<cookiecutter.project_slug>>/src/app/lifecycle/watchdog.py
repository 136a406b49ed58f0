"""Ends the process before SIGKILL would, and says what kept it."""

import asyncio
import faulthandler
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from typing import Any

#: Seconds before the end of the grace period at which the watchdog acts. SIGKILL
#: leaves no time to say anything; one second is enough to write the log.
MARGIN = 1.0
#: Where the idle workers of the thread pools of asyncio and anyio wait.
POOLS = ("concurrent/futures/thread.py", "anyio/_backends/_asyncio.py")


class Watchdog:
    """A daemon thread that calls ``last_words`` and exits with 1 at the deadline.

    Where even Python cannot run (a C extension that holds the interpreter lock),
    ``faulthandler`` writes the stacks of all threads to stderr half a second later
    and exits, from a thread that needs no lock.
    """

    def __init__(self, last_words: Callable[[], None]) -> None:
        self._last_words = last_words
        self._called_off = threading.Event()

    def start(self, remaining: float) -> None:
        """Watch; ``remaining`` is the number of seconds until SIGKILL."""
        patience = max(0.1, remaining - min(MARGIN, remaining / 4))
        faulthandler.dump_traceback_later(patience + MARGIN / 2, exit=True, file=2)
        threading.Thread(target=self._watch, args=(patience,), name="watchdog", daemon=True).start()

    def stop(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._called_off.set()

    def _watch(self, patience: float) -> None:
        if self._called_off.wait(patience):
            return
        try:
            self._last_words()
        finally:
            os._exit(1)


def where_is(task: "asyncio.Task[Any]") -> list[str]:
    """The lines at which ``task`` waits, outermost first."""
    return [
        f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
        for frame in task.get_stack(limit=8)
    ]


def busy_threads() -> list[threading.Thread]:
    """Threads that would keep the interpreter from exiting: neither daemons nor idle."""
    return [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon and not _idle(thread)
    ]


def _idle(thread: threading.Thread) -> bool:
    """Whether a pool's worker waits for work; its pool lets it go at exit."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_code.co_filename in (queue.__file__, threading.__file__):
        frame = frame.f_back
    return frame is None or frame.f_code.co_filename.endswith(POOLS)


def stacks(threads: Iterable[threading.Thread]) -> dict[str, list[str]]:
    """Where each of ``threads`` is, innermost line last, without the interpreter's own."""
    frames = sys._current_frames()
    found: dict[str, list[str]] = {}
    for thread in threads:
        frame = frames.get(thread.ident or 0)
        if frame is not None:
            lines = traceback.extract_stack(frame)[-8:]
            found[thread.name] = [f"{s.filename}:{s.lineno} in {s.name}" for s in lines]
    return found
