"""Threads of ``def`` endpoints that go on after their request was cancelled.

Python cannot stop a thread. Its token of anyio's limiter comes back at once, so without
this module the next requests would start more and more threads.
"""

import threading
from collections.abc import Sequence
from inspect import iscoroutinefunction

from anyio.to_thread import current_default_thread_limiter

from app.lifecycle.watchdog import busy_threads, stacks

#: The name that anyio gives the threads in which ``def`` endpoints run.
WORKER = "AnyIO worker thread"


class OverdueThreads:
    """Takes a token from anyio's limiter for each overdue thread, and gives it back at its end.

    So there are never more threads than the limiter allows (40 unless the application sets
    it). When all are overdue, requests that need a thread wait, and get 504 in their turn.
    """

    def __init__(self) -> None:
        #: How many threads work for a request that was cancelled.
        self.count = 0
        self._suspected = False
        self._previous = 0
        self._taken: float = 0

    def update(self, cancelled: Sequence[object] = ()) -> None:
        """Count them and set the limit; in the event loop.

        ``cancelled`` are the endpoints of requests that were cancelled since the last time.
        Does nothing while none was and no thread is overdue.
        """
        if not (cancelled or self._suspected):
            return
        limiter = current_default_thread_limiter()
        busy = len(_workers())
        found = max(0, busy - limiter.borrowed_tokens)
        # A thread that is just done has given back its token before it is idle: count what
        # was there twice.
        self.count = min(found, self._previous)
        self._previous = found
        # Their tokens come back before the next time: no other request may take them.
        expected = sum(callable(one) and not iscoroutinefunction(one) for one in cancelled)
        allowed = limiter.total_tokens + self._taken
        self._taken = min(found + min(expected, busy), allowed)
        limiter.total_tokens = allowed - self._taken
        self._suspected = bool(cancelled or found or self._taken)

    def status(self) -> dict[str, list[str]]:
        """The stacks of all threads that work for requests, while some of them are overdue."""
        return stacks(_workers()) if self.count else {}


def _workers() -> list[threading.Thread]:
    return [thread for thread in busy_threads() if thread.name.startswith(WORKER)]
