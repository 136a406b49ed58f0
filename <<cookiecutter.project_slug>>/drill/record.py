"""What a rehearsal records: the timeline of events, the pods, the changes of endpoints."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a pod, or of the rehearsal if ``pod`` is empty."""

    at: float
    what: str
    pod: str = ""
    detail: str = ""


class Timeline:
    """The clock of a rehearsal, in seconds since it began, and its events.

    ``echo`` receives a line for every event when it happens.
    """

    def __init__(self, echo: Callable[[str], None] = lambda line: None) -> None:
        self.events: list[Event] = []
        self._echo = echo
        self._zero = time.monotonic()
        self._zero_wall = time.time()

    def now(self) -> float:
        return time.monotonic() - self._zero

    def at(self, timestamp: str) -> float:
        """Convert a log line's timestamp to this clock."""
        return datetime.fromisoformat(timestamp).timestamp() - self._zero_wall

    def mark(self, what: str, pod: str = "", detail: str = "", *, quiet: bool = False) -> None:
        """Record an event; a ``quiet`` one is not echoed."""
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
    """A pod's endpoint, with the conditions of an EndpointSlice."""

    pod: str
    host: str
    port: int
    #: The readiness probe succeeds.
    serving: bool = False
    #: The pod is deleted; it may still be draining.
    terminating: bool = False

    @property
    def ready(self) -> bool:
        return self.serving and not self.terminating


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an endpoint; ``endpoint`` is None when it was removed.

    ``seen_at`` is the time when all clients have seen it, None if unknown.
    """

    at: float
    seen_at: float | None
    pod: str
    endpoint: Endpoint | None


@dataclass
class PodRecord:
    """A pod, running or gone. Its events are on the timeline, under its name."""

    name: str
    #: 1 before the scenario began; each update adds one.
    revision: int
    node: str
    address: str
    #: The container's output, across restarts.
    log: Path
    exit_code: int | None = None
    pre_stop_code: int | None = None
    restarts: int = 0
    #: The deletion's grace period in seconds; None for the pod's own.
    grace: float | None = None
    #: It belongs to the second release of a canary.
    canary: bool = False
