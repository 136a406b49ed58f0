"""Ends the process shortly before SIGKILL; where tasks and threads are."""

import asyncio
import contextlib
import faulthandler
import gc
import inspect
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from app.lifecycle.exits import Exit
from app.lifecycle.phase import MARGIN as MARGIN
from app.lifecycle.phase import Lifecycle, Phase

#: Seconds for closing the loop, when everything that was to be stopped is stopped.
CLOSING = 0.5
#: Where a thread that runs ``def`` endpoints begins.
ANYIO = "anyio/_backends/_asyncio.py"
#: Attributes of awaitables: their frame, and what they await.
AWAITED = (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom"))


class Watchdog:
    """A daemon thread that calls ``on_overrun`` and exits with 1 at the deadline.

    It waits for the stop itself, because the main loop may be blocked. If Python
    cannot run at all (a C extension holds the interpreter lock), ``faulthandler``
    writes all stacks to stderr halfway to SIGKILL and exits, without the lock.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._called_off = False
        self._news = threading.Event()

    def start(self, on_overrun: Callable[[], None]) -> None:
        """Wait for a stop, and then for its deadline."""
        self._lifecycle.on_shortened = self._news.set
        threading.Thread(
            target=self._watch, args=(on_overrun,), name="watchdog", daemon=True
        ).start()

    def stop(self) -> None:
        """Call it off: the process exits normally."""
        self._called_off = True
        self._news.set()

    def _watch(self, on_overrun: Callable[[], None]) -> None:
        self._lifecycle.wait_in_thread(Phase.DRAINING)
        while True:
            now, watchdog_at = time.monotonic(), self._lifecycle.watchdog_at
            patience = max(0.1, watchdog_at - now)
            later = patience + (self._lifecycle.deadline - watchdog_at) / 2
            faulthandler.dump_traceback_later(later, exit=True, file=2)
            if not self._news.wait(patience):
                break
            self._news.clear()
            if self._called_off:
                faulthandler.cancel_dump_traceback_later()
                return
        try:
            on_overrun()
        finally:
            os._exit(Exit.CUT)


def stack_of(task: "asyncio.Task[Any]") -> list[str]:
    """The lines where ``task`` waits, innermost last; asyncio itself shows only the first."""
    lines: list[str] = []
    waiting: object = task.get_coro()
    while waiting is not None:
        for frame_of, next_of in AWAITED:
            if frame := getattr(waiting, frame_of, None):
                code = frame.f_code
                lines.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_name}")
                waiting = getattr(waiting, next_of)
                break
        else:  # an async generator's step has no attribute for its generator
            waiting = next((x for x in gc.get_referents(waiting) if inspect.isasyncgen(x)), None)
    return lines[-8:]


def busy_threads() -> list[threading.Thread]:
    """Threads that keep the interpreter from exiting: neither daemons nor idle."""
    return [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon and not is_idle(thread)
    ]


def unresponsive_tasks(loop: asyncio.AbstractEventLoop) -> list["asyncio.Task[Any]"]:
    """Tasks that were cancelled and still run: closing ``loop`` would wait for them forever."""
    return [task for task in asyncio.all_tasks(loop) if task.cancelling()]


def exit_soon(code: int) -> threading.Timer:
    """Exit with ``code`` unless the returned timer is cancelled within ``CLOSING`` seconds.

    Closing a loop waits for lookups of names, which cannot be cancelled: without a DNS that
    answers, for 10 s and more.
    """
    timer = threading.Timer(CLOSING, os._exit, (code,))
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # the container has reached its limit of threads
        timer.start()
    return timer


def is_idle(thread: threading.Thread) -> bool:
    """Whether it is an idle worker of asyncio's or anyio's pool, which the pool ends at exit."""
    frame = sys._current_frames().get(thread.ident or 0)
    waits = False
    while frame is not None and frame.f_code.co_filename in (queue.__file__, threading.__file__):
        frame, waits = frame.f_back, True
    if frame is None:  # it has ended, or it is a waiting threading.Timer
        return not waits
    code = frame.f_code
    if code.co_filename.endswith("concurrent/futures/thread.py"):
        return code.co_name == "_worker"
    return waits and code.co_filename.endswith(ANYIO)


def stacks(threads: Iterable[threading.Thread]) -> dict[str, list[str]]:
    """The stack of each thread, innermost line last."""
    frames = sys._current_frames()
    found: dict[str, list[str]] = {}
    for thread in threads:
        frame = frames.get(thread.ident or 0)
        if frame is not None:
            lines = traceback.extract_stack(frame)[-8:]
            found[thread.name] = [f"{s.filename}:{s.lineno} in {s.name}" for s in lines]
    return found
