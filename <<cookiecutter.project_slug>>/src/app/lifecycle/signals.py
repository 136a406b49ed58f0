"""SIGTERM and SIGINT → the state machine.

The first asks for a stop, the second ends every wait of it, the third ends the
process at once with 128 + n. Standard library only, and installed before
anything else is imported: a pod that is deleted while it starts stops in good order.
"""

import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Protocol

from app.lifecycle.children import kill_children

HANDLED = (signal.SIGTERM, signal.SIGINT)
#: Not the number of any signal: look at what the handler has counted.
LOOK = b"\0"


class Stoppable(Protocol):
    """What the signals act on."""

    def signalled(self, reason: str) -> None: ...

    def hurry(self, reason: str) -> None: ...


class Signals:
    """Receives the signals of this process from ``install`` on.

    A Python signal handler runs between two bytecodes of the main thread: late when
    that thread sleeps or computes in C, and where taking a lock could deadlock. So
    a thread acts on them: the interpreter writes the number of each signal into a
    pipe at once. The handler only keeps count, for the moment in which an event
    loop that starts has put a pipe of its own in place.
    """

    def __init__(self) -> None:
        self._pipe, self._wakeup = os.pipe()
        self._loop_wakeup = -1
        self._piped: list[int] = []
        self._handled: list[int] = []
        self._received: list[signal.Signals] = []
        self._target: Stoppable | None = None
        self._lock = threading.Lock()
        self._forking = threading.local()

    def install(self) -> None:
        """Take the signals over. Main thread only, as Python demands."""
        os.set_blocking(self._wakeup, False)
        for number in HANDLED:
            signal.signal(number, self._handle)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        threading.Thread(target=self._read, name="signals", daemon=True).start()
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork,
            after_in_child=self._forget,
        )

    def share_with_loop(self) -> None:
        """Take the pipe back from the event loop that runs in the main thread now.

        A loop puts one of its own in place when it starts to run; it is passed on
        what comes, so that its own signal handlers go on working.
        """
        self._loop_wakeup = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)

    def deliver_to(self, target: Stoppable) -> None:
        """Pass on to ``target`` what has come in and what comes."""
        with self._lock:
            self._target = target
            for count, number in enumerate(self._received, start=1):
                self._act(count, number)

    def ignore(self) -> None:
        """Ignore signals from now on: the exit code is decided.

        The interpreter puts the default action back while it ends, and a SIGTERM
        that comes after the preStop hook often comes just then.
        """
        for number in HANDLED:
            signal.signal(number, signal.SIG_IGN)

    def _before_fork(self) -> None:
        # A child that is told to end at once must not write into this process's pipe.
        self._forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)

    def _after_fork(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._forking.mask)

    def _forget(self) -> None:
        """Undo ``install`` in a forked child: the pipe is the service's, and so are its signals."""
        if self._pipe >= 0:  # not in the child of a child
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            leave_to_the_service()
            os.close(self._pipe)
            os.close(self._wakeup)
            self._pipe = self._wakeup = -1
        self._after_fork()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._handled.append(number)
        with contextlib.suppress(BlockingIOError):
            os.write(self._wakeup, LOOK)

    def _read(self) -> None:
        while True:
            for number in os.read(self._pipe, 64):
                if number in HANDLED:
                    self._piped.append(number)
                if number and self._loop_wakeup >= 0:
                    with contextlib.suppress(OSError):
                        os.write(self._loop_wakeup, bytes([number]))
                with self._lock:
                    self._catch_up()

    def _catch_up(self) -> None:
        """Act on what either way has brought; each signal comes by one of them or both."""
        known = max(self._piped, self._handled, key=len)
        for number in known[len(self._received) :]:
            self._received.append(signal.Signals(number))
            self._act(len(self._received), self._received[-1])

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


def leave_to_the_service() -> None:
    """Do nothing at SIGINT, in a child process: the service ends it when it has drained.

    A Ctrl-C goes to all processes of a terminal at once, to a worker in the middle of
    a request too. Forked children begin so. For others it is the ``initializer`` of
    their pool. A handler, for a program that the child starts would inherit SIG_IGN.
    """
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
