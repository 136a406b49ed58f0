"""The time of a stop, divided among its steps; seconds on the monotonic clock."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from app.lifecycle.phase import Lifecycle

#: The share of each step, in the order of the steps; together 1.
SHARES = {"requests": 0.3, "tasks": 0.2, "lifespan": 0.15, "components": 0.25, "leftovers": 0.1}
#: Seconds that a stop needs besides the components' own budgets.
LEAST = 5.0
#: Seconds of these for the components that have no budget of their own.
COMPONENTS_REST = LEAST * SHARES["components"]
#: Seconds that a component gets to close once the stop is hurried.
HURRIED = 0.5
#: Seconds of a step's time that cancelled work gets to clean up.
CLEAN_UP = 0.5
#: The same if the step has no time left: enough for the event loop to run it.
AT_LEAST = 0.1
#: Seconds for the report before the watchdog acts.
FOR_THE_REPORT = 0.2
#: Seconds by which a step may exceed its share, on a busy machine, without being reported.
TOLERANCE = 0.1


def clean_up(seconds: float) -> float:
    """The part of a step's ``seconds`` that is kept for cancelled work."""
    return min(CLEAN_UP, max(AT_LEAST, seconds / 4))


@dataclass(slots=True)
class Budget:
    """Gives each step of a stop its time; created when the first step begins.

    A step may use its share and what earlier steps left of theirs, but never the
    shares of later steps. If the deadline moves closer (``Lifecycle.shorten``), the
    remaining time is divided in the same proportions.

    ``reserved`` of the ``seconds`` are for components with a budget of their own: they are
    not divided, and the first to be lost if the deadline moves closer.
    """

    lifecycle: Lifecycle
    seconds: float
    clock: Callable[[], float] = time.monotonic
    reserved: float = 0.0
    #: Seconds that each step took.
    took: dict[str, float] = field(default_factory=dict)
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def left(self, step: str) -> float:
        """Seconds that ``step`` may still use."""
        end = min(self.began + self.seconds, self.lifecycle.watchdog_at - FOR_THE_REPORT)
        left = max(0.0, end - self.clock())
        kept = self._kept(end - self.began)
        names = list(kept)
        later = sum(kept[name] for name in names[names.index(step) + 1 :])
        if later == 0:
            return left
        return left - min(later, left * later / (kept[step] + later))

    def _kept(self, seconds: float) -> dict[str, float]:
        """What each step keeps of ``seconds``."""
        divided = max(0.0, min(seconds, self.seconds - self.reserved))
        kept = {name: share * divided for name, share in SHARES.items()}
        kept["components"] += max(0.0, seconds - divided)
        return kept

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[float]:
        """Time the step ``name``; yields the seconds that it may use."""
        began = self.clock()
        try:
            yield self.left(name)
        finally:
            self.took[name] = self.took.get(name, 0.0) + self.clock() - began

    def overran(self) -> dict[str, str]:
        """The steps that exceeded their share, and whose time they used."""
        spare: dict[str, float] = {}
        found: dict[str, str] = {}
        shares = self._kept(self.seconds)
        for name, took in self.took.items():
            share = shares[name]
            if took <= share:
                spare[name] = share - took
            elif took > share + TOLERANCE:
                lenders = ", ".join(sorted(spare, key=lambda one: -spare[one]))
                whose = f"left by {lenders}" if lenders else "over the budget"
                found[name] = f"{took:.2f} s, {took - share:.2f} s above its share ({whose})"
        return found
