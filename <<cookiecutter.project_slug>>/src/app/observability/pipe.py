"""Standard output that never blocks the service: a thread writes the log lines.

The reader of a container's output may stall: a log driver that blocks, a full pipe, a
terminal held with Ctrl-S. A service that waited for it would serve no requests and react
to no signals. So lines are buffered up to a limit and dropped beyond it. The dropped lines
are counted, and the count is logged as soon as the output can be written again.
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

#: Maximum size of the buffer in characters, which are bytes: JSON lines are ASCII.
LIMIT = 1024 * 1024
#: Characters of whole lines per write, unless one line is longer.
CHUNK = 16 * 1024
#: Seconds for which lines that are not urgent are collected into one write.
BATCH = 0.1
#: Seconds that the exit of the process waits for the buffer to be written.
AT_EXIT = 1.0

WRITING, BATCHING, IDLE = range(3)


class Pipe:
    """A descriptor written by a daemon thread, which starts with the first line.

    ``write`` and ``write_soon`` never block; each takes one line with its line break. They
    are safe in any thread, in signal handlers and in finalizers. The thread sleeps while
    there is nothing to write. A forked child has no such thread and writes directly, and
    so does a process that cannot start one.
    """

    def __init__(self, descriptor: int, limit: int = LIMIT) -> None:
        self._descriptor = descriptor
        self._limit = limit
        self._reset()
        os.register_at_fork(after_in_child=lambda: self._reset(direct=True))
        atexit.register(self.flush, AT_EXIT)

    def _reset(self, *, direct: bool = False) -> None:
        #: Lines that were not written: beyond the limit, or because writing failed.
        self.dropped = self._reported = 0
        # Reentrant: a signal handler or a finalizer may log while this thread holds it.
        self._lock = threading.RLock()
        self._lines: list[str] = []
        self._size = 0
        self._urgent = False
        self._flushes: list[threading.Event] = []
        self._last: tuple[str, threading.Event] | None = None
        #: When the lines before the last one are dropped, on the monotonic clock.
        self._drop_at = float("inf")
        self._state = IDLE
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._direct = direct
        #: Lines that the thread itself logs.
        self._notice: list[str] = []
        self._failed = self._mid_line = False

    # -- called by any thread -----------------------------------------------------------

    def write(self, line: str) -> None:
        """Write ``line`` at once, after all buffered lines."""
        if threading.current_thread() is self._thread:
            self._notice.append(line)
        else:
            self._buffer(line, urgent=True)

    def write_soon(self, line: str) -> None:
        """Write ``line`` within BATCH seconds, together with others."""
        self._buffer(line, urgent=False)

    def flush(self, timeout: float = 0.0) -> None:
        """Wait at most ``timeout`` seconds until all lines so far are written."""
        with self._lock:
            if timeout <= 0 or self._thread is None:
                return
            written = threading.Event()
            self._flushes.append(written)
            self._wake_writer()
        written.wait(timeout)

    def last(self, line: str, timeout: float) -> None:
        """Write ``line`` after all others; return after ``timeout`` seconds at the latest.

        It has room even in a full buffer. The lines before it get half of the time; those
        not written by then are dropped.
        """
        written = threading.Event()
        with self._lock:
            self._last = line, written
            self._drop_at = time.monotonic() + timeout / 2
            self._wake_writer()
        written.wait(timeout)

    def _buffer(self, line: str, *, urgent: bool) -> None:
        with self._lock:
            size = self._size + len(line)
            if size > self._limit and self._size:
                self.dropped += 1
                return
            self._size = size
            self._lines.append(line)
            if urgent:
                self._urgent = True
                if self._state is not WRITING:
                    self._wake_writer()
            elif self._state is IDLE:
                self._wake_writer()

    def _wake_writer(self) -> None:
        """Wake or start the thread, or write directly; the lock is held."""
        if self._thread is None and not self._direct:
            thread = threading.Thread(target=self._run, name="log", daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # no more threads, or the interpreter exits
                self._direct = True
        if self._direct:
            self._write_buffer()
        else:
            self._urgent = self._urgent or bool(self._flushes or self._last)
            self._state = WRITING
            self._wake.put(None)

    # -- called by the writing thread ---------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                idle = not (self._lines or self._flushes or self._last)
                self._state = IDLE if idle else WRITING
            if idle:
                self._wake.get()
            with self._lock:
                batch = not self._urgent
                self._state = BATCHING if batch else WRITING
            if batch:
                with contextlib.suppress(queue.Empty):
                    self._wake.get(timeout=BATCH)
            self._write_buffer()

    def _write_buffer(self) -> None:
        """Write the buffered lines, the number of dropped lines, and the last line if due."""
        with self._lock:
            self._state = IDLE if self._direct else WRITING
            self._urgent = False
            lines, self._lines = self._lines, []
            flushes, self._flushes = self._flushes, []
        for chunk, size in _chunks(lines):
            written = time.monotonic() < self._drop_at and self._write("".join(chunk))
            with self._lock:
                self._size -= size
                self.dropped += 0 if written else len(chunk)
        if not self._failed and self.dropped > self._reported:
            self._report_dropped()
        last = None
        with self._lock:
            if not self._lines or time.monotonic() >= self._drop_at:
                last, self._last = self._last, None
        if last is not None:
            self._write(last[0])
            last[1].set()
        for flushed in flushes:
            flushed.set()

    def _report_dropped(self) -> None:
        """Log how many lines are missing at this point."""
        reported, self._reported = self._reported, self.dropped
        log.error("log lines dropped", count=self._reported - reported)
        notice, self._notice = self._notice, []
        if notice and not self._write("".join(notice)):
            self._reported = reported

    def _write(self, text: str) -> bool:
        """Write ``text``, however long that takes; False if it cannot be written."""
        start = b"\n" if self._mid_line else b""
        data = memoryview(start + text.encode("utf-8", "backslashreplace"))
        whole = len(data)
        try:
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:  # made non-blocking by a process that shares it
                    select.select([], [self._descriptor], [])
        except OSError as error:
            self._mid_line = self._mid_line or len(data) < whole
            if not self._failed:
                self._failed = True
                text = f"cannot write to descriptor {self._descriptor}: {error.strerror}"
                with contextlib.suppress(OSError):
                    os.write(2, f"{text}; dropping log lines until it works\n".encode())
            return False
        self._failed = self._mid_line = False
        return True


def _chunks(lines: list[str]) -> Iterator[tuple[list[str], int]]:
    """Groups of ``lines`` of about CHUNK characters, each with its number of characters."""
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
    """Flush the buffer of ``print``; False when that fails or takes longer.

    The interpreter would do this at exit, and wait forever if nobody reads.
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


#: The output of all logs.
STDOUT = Pipe(1)
