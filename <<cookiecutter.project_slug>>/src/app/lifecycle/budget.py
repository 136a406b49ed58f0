"""The seconds of a stop, shared out among its steps.

Standard library only; times are seconds on the monotonic clock.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from app.lifecycle.phase import Lifecycle

#: What of the stop's seconds each step keeps, in the order of the steps: together 1.
SHARES = {"requests": 0.3, "tasks": 0.2, "lifespan": 0.15, "components": 0.25, "leftovers": 0.1}
#: Seconds that a step gets to close what it has to close once the stop is hurried.
HURRIED = 0.5
#: Seconds that what was cancelled gets to clean up, of its step's time.
CLEAN_UP = 0.5
#: The same where a step has no time at all: enough for the event loop to run it.
AT_LEAST = 0.1
#: Seconds before the watchdog acts in which the stop writes its last line.
FOR_THE_REPORT = 0.2
#: Seconds by which a step may miss its share, on a busy machine, before it is named.
TOLERANCE = 0.1


def clean_up(seconds: float) -> float:
    """The part of a step's ``seconds`` that is left for what it had to cancel."""
    return min(CLEAN_UP, max(AT_LEAST, seconds / 4))


@dataclass(slots=True)
class Budget:
    """Gives each step of a stop its time; made when the first one begins.

    A step may take its share, and what the steps before it left of theirs; never
    what those after it keep. When the deadline comes closer (``Lifecycle.shorten``),
    what remains is divided as the shares are.
    """

    lifecycle: Lifecycle
    seconds: float
    clock: Callable[[], float] = time.monotonic
    #: Seconds that each step took.
    took: dict[str, float] = field(default_factory=dict)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def left(self, step: str) -> float:
        """Seconds that ``step`` may still take."""
        now = self.clock()
        end = min(self.began + self.seconds, self.lifecycle.last_call - FOR_THE_REPORT)
        left = max(0.0, end - now)
        names = list(SHARES)
        later = sum(SHARES[name] for name in names[names.index(step) + 1 :])
        return left - min(later * self.seconds, left * later / (SHARES[step] + later))

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[float]:
        """Time ``name``; the value is what it may take, in seconds."""
        began = self.clock()
        try:
            yield self.left(name)
        finally:
            self.took[name] = self.took.get(name, 0.0) + self.clock() - began

    def overran(self) -> dict[str, str]:
        """The steps that took more than their share, and whose time that was."""
        spare: dict[str, float] = {}
        found: dict[str, str] = {}
        for name, took in self.took.items():
            share = SHARES[name] * self.seconds
            if took <= share:
                spare[name] = share - took
            elif took > share + TOLERANCE:
                lenders = ", ".join(sorted(spare, key=lambda one: -spare[one]))
                whose = f"left by {lenders}" if lenders else "beyond the budget"
                found[name] = f"{took:.2f} s, {took - share:.2f} s above its share ({whose})"
        return found
