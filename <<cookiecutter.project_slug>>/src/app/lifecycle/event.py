"""A one-way event for coroutines and threads."""

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Iterable
from typing import Any


class Event:
    """``threading.Event`` and ``asyncio.Event`` in one, without ``clear``.

    Threads and coroutines of any event loop may wait for it.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._waiters: set[asyncio.Future[None]] = set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        with self._lock:
            self._event.set()
            waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            # A closed loop has no waiters.
            with contextlib.suppress(RuntimeError):
                waiter.get_loop().call_soon_threadsafe(_release, waiter)

    async def wait(self) -> None:
        with self._lock:
            if self._event.is_set():
                return
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
        try:
            await waiter
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    async def or_done(
        self,
        tasks: Iterable["asyncio.Task[Any]"],
        timeout: float | None = None,
        *,
        then: float = 0.0,
    ) -> None:
        """Return when all ``tasks`` are done, after ``timeout`` seconds, or once set.

        Once set, the tasks get up to ``then`` more seconds, within the timeout.
        """
        unfinished = [task for task in tasks if not task.done()]
        if not unfinished:
            return
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        done = asyncio.ensure_future(asyncio.wait(unfinished))
        cut_short = asyncio.ensure_future(self.wait())
        try:
            await asyncio.wait(
                {done, cut_short}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            left = min(then, deadline - time.monotonic())
            if left > 0 and not done.done():
                await asyncio.wait({done}, timeout=left)
        finally:
            done.cancel()
            cut_short.cancel()

    def wait_in_thread(self, timeout: float | None = None) -> bool:
        """Block this thread; return False after ``timeout`` seconds."""
        return self._event.wait(timeout)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
