"""SIGTERM and SIGINT → the state machine.

The first asks for a stop, the second ends every wait of it, the third ends the
process at once with 128 + n. Standard library only, and installed before
anything else is imported: the kernel drops a signal for which PID 1 has no
handler, and a pod that is deleted while it starts would hang until SIGKILL.
"""

import os
import queue
import signal
import threading
from types import FrameType
from typing import Protocol

HANDLED = (signal.SIGTERM, signal.SIGINT)


class Stoppable(Protocol):
    """What the signals act on."""

    def drain(self, reason: str) -> bool: ...

    def hurry(self, reason: str) -> None: ...


class Signals:
    """Receives the signals of this process from ``install`` on.

    The handler itself only counts and enqueues. It runs between two bytecodes of
    the main thread, where taking a lock could deadlock; a thread delivers, so a
    blocked event loop does not keep readiness from going false.
    """

    def __init__(self) -> None:
        self._inbox: queue.SimpleQueue[signal.Signals] = queue.SimpleQueue()
        self._count = 0

    @property
    def received(self) -> bool:
        """Whether any signal has come in so far."""
        return self._count > 0

    def install(self) -> None:
        """Take the signals over. Main thread only, as Python demands."""
        for number in HANDLED:
            signal.signal(number, self._handle)

    def deliver_to(self, target: Stoppable) -> None:
        """Pass on to ``target`` what came in and what comes, from a daemon thread."""
        threading.Thread(target=self._deliver, args=(target,), name="signals", daemon=True).start()

    def ignore(self) -> None:
        """Ignore signals from now on: the exit code is decided.

        The interpreter puts the default action back while it ends, and a SIGTERM
        that comes after the preStop hook often comes just then.
        """
        for number in HANDLED:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count >= 3:
            os._exit(128 + number)
        self._inbox.put(signal.Signals(number))

    def _deliver(self, target: Stoppable) -> None:
        target.drain(f"received {self._inbox.get().name}")
        target.hurry(f"received {self._inbox.get().name} again")
