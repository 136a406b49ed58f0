"""The clock of a rehearsal and what happened on it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a pod, or, without a pod, to the rehearsal."""

    at: float
    what: str
    pod: str = ""
    detail: str = ""


class Timeline:
    """Seconds since the rehearsal began, the one clock of everything in it.

    ``echo`` gets a line for every event as it happens.
    """

    def __init__(self, echo: Callable[[str], None] = lambda line: None) -> None:
        self.events: list[Event] = []
        self._echo = echo
        self._zero = time.monotonic()
        self._zero_wall = time.time()

    def now(self) -> float:
        return time.monotonic() - self._zero

    def at(self, timestamp: str) -> float:
        """The time of a log line, which carries a date, on this clock."""
        return datetime.fromisoformat(timestamp).timestamp() - self._zero_wall

    def mark(self, what: str, pod: str = "", detail: str = "", *, quiet: bool = False) -> None:
        """Notes an event; a ``quiet`` one is not echoed."""
        event = Event(self.now(), what, pod, detail)
        self.events.append(event)
        if quiet:
            return
        text = " ".join(filter(None, (pod, what))) + (f": {detail}" if detail else "")
        self._echo(f"{event.at:7.1f} s  {text}")

    def first(self, what: str, pod: str = "") -> float | None:
        return next((e.at for e in self.events if e.what == what and e.pod == pod), None)
