"""Ends the process before SIGKILL would, and says what kept it."""

import asyncio
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

#: Where things that can be awaited keep their frame and what they wait for themselves.
AWAITED = (("cr_frame", "cr_await"), ("ag_frame", "ag_await"), ("gi_frame", "gi_yieldfrom"))


class Watchdog:
    """A daemon thread that calls ``last_words`` and exits with 1 at the deadline.

    It hears of the stop by itself: the main loop may be blocked when it comes.
    Where even Python cannot run (a C extension that holds the interpreter lock),
    ``faulthandler`` writes the stacks of all threads to stderr a little later (half
    the time to SIGKILL) and exits, from a thread that needs no lock.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._called_off = False
        self._news = threading.Event()

    def start(self, last_words: Callable[[], None]) -> None:
        """Watch the stop that begins when the lifecycle says so, and its deadline."""
        self._lifecycle.on_shortened = self._news.set
        threading.Thread(
            target=self._watch, args=(last_words,), name="watchdog", daemon=True
        ).start()

    def stop(self) -> None:
        """The process ends by itself."""
        self._called_off = True
        self._news.set()

    def _watch(self, last_words: Callable[[], None]) -> None:
        self._lifecycle.wait_in_thread(Phase.DRAINING)
        while True:
            now, last_call = time.monotonic(), self._lifecycle.last_call
            patience = max(0.1, last_call - now)
            later = patience + (self._lifecycle.deadline - last_call) / 2
            faulthandler.dump_traceback_later(later, exit=True, file=2)
            if not self._news.wait(patience):
                break
            self._news.clear()
            if self._called_off:
                faulthandler.cancel_dump_traceback_later()
                return
        try:
            last_words()
        finally:
            os._exit(Exit.CUT)


def where_is(task: "asyncio.Task[Any]") -> list[str]:
    """The lines at which ``task`` waits, innermost last; asyncio itself knows the first only."""
    lines: list[str] = []
    waiting: object = task.get_coro()
    while waiting is not None:
        for frame_of, next_of in AWAITED:
            if frame := getattr(waiting, frame_of, None):
                code = frame.f_code
                lines.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_name}")
                waiting = getattr(waiting, next_of)
                break
        else:  # the step of an async generator has no attribute for its generator
            waiting = next((x for x in gc.get_referents(waiting) if inspect.isasyncgen(x)), None)
    return lines[-8:]


def busy_threads() -> list[threading.Thread]:
    """Threads that would keep the interpreter from exiting: neither daemons nor idle."""
    return [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon and not _idle(thread)
    ]


def deaf_tasks(loop: asyncio.AbstractEventLoop) -> list["asyncio.Task[Any]"]:
    """Tasks that were cancelled and go on: closing ``loop`` would wait for them for ever."""
    return [task for task in asyncio.all_tasks(loop) if task.cancelling()]


def _idle(thread: threading.Thread) -> bool:
    """Whether a worker of asyncio's or anyio's pool waits for work; its pool ends it at exit."""
    frame = sys._current_frames().get(thread.ident or 0)
    waits = False
    while frame is not None and frame.f_code.co_filename in (queue.__file__, threading.__file__):
        frame, waits = frame.f_back, True
    if frame is None:  # it has ended, or it waits in nobody's name: a threading.Timer
        return not waits
    code = frame.f_code
    if code.co_filename.endswith("concurrent/futures/thread.py"):
        return code.co_name == "_worker"
    return waits and code.co_filename.endswith("anyio/_backends/_asyncio.py")


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
