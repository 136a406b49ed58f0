"""SIGTERM and SIGINT drive the state machine.

The first requests a stop, the second ends its waits, the third ends the process
with 128 + n. SIGUSR1 asks what the service is doing, and changes nothing. Standard
library only, and installed before other imports, so that a pod that is deleted while
it starts stops cleanly.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from app.lifecycle.children import kill_children

HANDLED = (signal.SIGTERM, signal.SIGINT)
QUESTION = signal.SIGUSR1
#: Not a signal number: tells the reader to check what the handler counted.
LOOK = b"\0"


class Stoppable(Protocol):
    """What the signals act on."""

    def signalled(self, reason: str) -> None: ...

    def hurry(self, reason: str) -> None: ...


class Signals:
    """Receives the signals of this process once ``install`` was called.

    A Python signal handler runs between bytecodes of the main thread: late while that
    thread is busy in C, and where a lock could deadlock. So a thread acts on signals:
    the interpreter writes each signal's number into a pipe at once. The handler only
    counts, for the moment in which a starting event loop has its own pipe in place.
    """

    def __init__(self) -> None:
        self._pipe, self._wakeup = os.pipe()
        self._loop_wakeup = -1
        self._piped: list[int] = []
        self._handled: list[int] = []
        self._received: list[signal.Signals] = []
        self._target: Stoppable | None = None
        #: Called for each SIGUSR1, in the thread that acts on signals; must return at once.
        self.on_question: Callable[[], object] = lambda: None
        self._questions_piped = self._questions_handled = self._questions = 0
        self._lock = threading.Lock()
        self._forking = threading.local()

    def install(self) -> None:
        """Handle the signals from now on. Main thread only, as Python requires."""
        os.set_blocking(self._wakeup, False)
        for number in (*HANDLED, QUESTION):
            signal.signal(number, self._handle)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        threading.Thread(target=self._read, name="signals", daemon=True).start()
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork,
            after_in_child=self._forget,
        )

    def share_with_loop(self) -> None:
        """Take the pipe back from the event loop that now runs in the main thread.

        A starting loop installs its own pipe. Signals are forwarded to it, so that
        its signal handlers still work.
        """
        self._loop_wakeup = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def deliver_to(self, target: Stoppable) -> None:
        """Deliver past and future signals to ``target``."""
        with self._lock:
            self._target = target
            for count, number in enumerate(self._received, start=1):
                self._act(count, number)

    def ignore(self) -> None:
        """Ignore signals from now on: the exit code is decided.

        The interpreter restores the default action while it exits, and the SIGTERM
        after a preStop hook often arrives just then.
        """
        for number in (*HANDLED, QUESTION):
            signal.signal(number, signal.SIG_IGN)

    def _before_fork(self) -> None:
        # A signal to a new child must not end up in this process's pipe.
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, (*HANDLED, QUESTION))

    def _after_fork(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._forking.mask)

    def _forget(self) -> None:
        """Undo ``install`` in a forked child: pipe and signals belong to the service."""
        if self._pipe >= 0:  # not in a grandchild
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(QUESTION, signal.SIG_DFL)
            ignore_sigint()
            os.close(self._pipe)
            os.close(self._wakeup)
            self._pipe = self._wakeup = -1
        self._after_fork()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == QUESTION:
            self._questions_handled += 1
        else:
            self._handled.append(number)
        with contextlib.suppress(BlockingIOError):
            os.write(self._wakeup, LOOK)

    def _read(self) -> None:
        while True:
            for number in os.read(self._pipe, 64):
                if number in HANDLED:
                    self._piped.append(number)
                elif number == QUESTION:
                    self._questions_piped += 1
                if number and self._loop_wakeup >= 0:
                    with contextlib.suppress(OSError):
                        os.write(self._loop_wakeup, bytes([number]))
                with self._lock:
                    self._catch_up()

    def _catch_up(self) -> None:
        """Act on new signals; each arrives through the pipe, the handler or both."""
        known = max(self._piped, self._handled, key=len)
        for number in known[len(self._received) :]:
            self._received.append(signal.Signals(number))
            self._act(len(self._received), self._received[-1])
        asked = max(self._questions_piped, self._questions_handled)
        if asked > self._questions:
            self._questions = asked
            self.on_question()

    def _act(self, count: int, number: signal.Signals) -> None:
        if count >= 3:
            try:
                kill_children()
            finally:
                os._exit(128 + number)
        if self._target is None:
            return
        if count == 1:
            self._target.signalled(f"received {number.name}")
        else:
            self._target.hurry(f"received {number.name} again")


def ignore_sigint() -> None:
    """Make a child process ignore SIGINT: the service ends it after the drain.

    Ctrl-C reaches all processes of a terminal, also a worker in the middle of a
    request. Forked children do this by themselves; for others, pass it as the
    ``initializer`` of their pool. It sets a handler because programs that the child
    starts would inherit SIG_IGN.
    """
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
