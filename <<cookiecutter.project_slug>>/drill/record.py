"""[drill.timeline] The clock of a rehearsal and what happened on it.
[drill.record] What a rehearsal leaves behind, whichever backend it ran on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod's entry in the table, with the conditions of an EndpointSlice."""

    pod: str
    host: str
    port: int
    #: The pod is ready by its probe.
    serving: bool = False
    #: The pod has been deleted and may still be draining.
    terminating: bool = False

    @property
    def ready(self) -> bool:
        return self.serving and not self.terminating


@dataclass(frozen=True, slots=True)
class Change:
    """One write to the table: ``endpoint`` is the new entry, None when it was removed.

    ``seen_at`` is when the last client knew of it, None where nobody can tell.
    """

    at: float
    seen_at: float | None
    pod: str
    endpoint: Endpoint | None


@dataclass
class PodRecord:
    """A pod, alive or gone. What happened to it is on the timeline, under its name."""

    name: str
    #: 1 for the pods that were there before the scenario began; each update adds one.
    revision: int
    node: str
    address: str
    #: The output of its container, restarts included.
    log: Path
    exit_code: int | None = None
    pre_stop_code: int | None = None
    restarts: int = 0
    #: The grace period in seconds that its deletion gave it; None for the pod's own.
    grace: float | None = None
