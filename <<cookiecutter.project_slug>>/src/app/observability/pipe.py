"""Standard output that nobody waits for: a thread writes what the service logs.

Whoever reads a container's output may stall: a log driver that blocks, a full pipe, a
terminal held with Ctrl-S. A service that waited for it would answer no request and hear
no signal. Lines are therefore kept, up to a limit, and dropped beyond it; how many is
counted, and said as soon as the output can be written again.
"""

import atexit
import contextlib
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Iterator

import structlog

log = structlog.get_logger(__name__)

#: Characters that may wait to be written; JSON lines are ASCII, so these are bytes.
LIMIT = 1024 * 1024
#: Characters of whole lines that go out in one write, unless one line is longer.
CHUNK = 16 * 1024
#: Seconds for which lines that can wait are gathered: one write for all of them.
GATHER = 0.1
#: Seconds that the end of the process waits for what is still to be written.
AT_EXIT = 1.0

STDERR = 2

WORKS, GATHERS, SLEEPS = range(3)


class Pipe:
    """A descriptor that is written to by a daemon thread, which starts with the first line.

    ``write`` and ``write_soon`` never block; each takes one line with its line break. They
    are safe in any thread, in signal handlers and in finalizers. The thread sleeps while
    there is nothing to write. A forked child, which has no such thread, writes directly,
    and so does a process that cannot start one.
    """

    def __init__(self, descriptor: int, limit: int = LIMIT) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._begin()
        os.register_at_fork(after_in_child=self._in_child)
        atexit.register(self.flush, AT_EXIT)

    def _begin(self) -> None:
        #: Lines that were not written: beyond the limit, or because writing failed.
        self.dropped = 0
        self._told = 0
        # Reentrant: a signal handler or a finalizer may log in the middle of a line.
        self._lock = threading.RLock()
        self._lines: list[str] = []
        self._size = 0
        self._urgent = False
        self._flushes: list[threading.Event] = []
        self._last: tuple[str, threading.Event] | None = None
        #: When lines are given up for the sake of the last one; monotonic.
        self._give_up = float("inf")
        self._state = SLEEPS
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._direct = False
        #: What the thread itself has to say.
        self._notice: list[str] = []
        self._failed = self._torn = False

    def _in_child(self) -> None:
        self._begin()
        self._direct = True

    # -- for those who log --------------------------------------------------------------

    def write(self, line: str) -> None:
        """Write ``line`` at once, and all that waits before it."""
        if threading.current_thread() is self._thread:
            self._notice.append(line)
        else:
            self._keep(line, urgent=True)

    def write_soon(self, line: str) -> None:
        """Write ``line`` within ``GATHER`` seconds, together with others."""
        self._keep(line, urgent=False)

    def flush(self, timeout: float = 0.0) -> None:
        """Wait at most ``timeout`` seconds until everything taken so far has been written."""
        with self._lock:
            if timeout <= 0 or self._thread is None:
                return
            written = threading.Event()
            self._flushes.append(written)
            self._call()
        written.wait(timeout)

    def last(self, line: str, timeout: float) -> None:
        """Write ``line`` after all others; return after ``timeout`` seconds at the latest.

        It has room however much waits. Half of the time is for the lines before it; what
        is left of them then is dropped.
        """
        written = threading.Event()
        with self._lock:
            self._last = line, written
            self._give_up = time.monotonic() + timeout / 2
            self._call()
        written.wait(timeout)

    def _keep(self, line: str, *, urgent: bool) -> None:
        with self._lock:
            size = self._size + len(line)
            if size > self._limit and self._size:
                self.dropped += 1
                return
            self._size = size
            self._lines.append(line)
            if urgent:
                self._urgent = True
                if self._state is not WORKS:
                    self._call()
            elif self._state is SLEEPS:
                self._call()

    def _call(self) -> None:
        """Make somebody write; the lock is held."""
        if self._thread is None and not self._direct:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # no more threads, or the interpreter ends
                self._direct = True
        if self._direct:
            self._pass()
        else:
            self._urgent = self._urgent or bool(self._flushes or self._last)
            self._state = WORKS
            self._wake.put(None)

    # -- for the thread -----------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                idle = not (self._lines or self._flushes or self._last)
                self._state = SLEEPS if idle else WORKS
            if idle:
                self._wake.get()
            with self._lock:
                gather = not self._urgent
                self._state = GATHERS if gather else WORKS
            if gather:
                with contextlib.suppress(queue.Empty):
                    self._wake.get(timeout=GATHER)
            self._pass()

    def _pass(self) -> None:
        """Write what waits now, then what there is to say about dropped lines."""
        with self._lock:
            self._state = SLEEPS if self._direct else WORKS
            self._urgent = False
            lines, self._lines = self._lines, []
            flushes, self._flushes = self._flushes, []
        for chunk, size in _chunks(lines):
            written = time.monotonic() < self._give_up and self._put("".join(chunk))
            with self._lock:
                self._size -= size
                self.dropped += 0 if written else len(chunk)
        if not self._failed and self.dropped > self._told:
            self._tell()
        with self._lock:
            last = self._last
            if last is not None and (not self._lines or time.monotonic() >= self._give_up):
                self._last = None
            else:
                last = None
        if last is not None:
            self._put(last[0])
            last[1].set()
        for written_so_far in flushes:
            written_so_far.set()

    def _tell(self) -> None:
        """Say how many lines are missing here."""
        told, self._told = self._told, self.dropped
        log.error("log lines dropped", count=self._told - told)
        notice, self._notice = self._notice, []
        if notice and not self._put("".join(notice)):
            self._told = told

    def _put(self, text: str) -> bool:
        """Write ``text`` however long that takes; False if it cannot be written."""
        start = b"\n" if self._torn else b""
        data = memoryview(start + text.encode("utf-8", "backslashreplace"))
        whole = len(data)
        try:
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:  # whoever shares the descriptor has made it so
                    select.select([], [self._descriptor], [])
        except OSError as error:
            self._torn = self._torn or len(data) < whole
            if not self._failed:
                self._failed = True
                text = f"descriptor {self._descriptor} cannot be written: {error.strerror}"
                with contextlib.suppress(OSError):
                    os.write(STDERR, f"{text}; log lines are dropped until it can be\n".encode())
            return False
        self._failed = self._torn = False
        return True


def _chunks(lines: list[str]) -> Iterator[tuple[list[str], int]]:
    """``lines`` in groups of about ``CHUNK`` characters, and how many characters they are."""
    chunk: list[str] = []
    size = 0
    for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= CHUNK:
            yield chunk, size
            chunk, size = [], 0
    if chunk:
        yield chunk, size


def flush_prints(timeout: float) -> bool:
    """Write what ``print`` has left in the buffer; False when it fails or takes longer.

    The interpreter would wait for that while it ends, for ever if nobody reads.
    """
    done = threading.Event()

    def flush() -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            done.set()

    thread = threading.Thread(target=flush, name="flush", daemon=True)
    thread.start()
    thread.join(timeout)
    return done.is_set()


#: Where the service logs to.
STDOUT = Pipe(1)
