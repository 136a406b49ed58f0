"""One pod's life as the report shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drill.record import PodRecord
from drill.result.endpoints import Span
from drill.timeline import Event


@dataclass(frozen=True)
class Lane:
    """Times on the rehearsal's clock, None for what did not happen or is not known.

    All dates of a stop are None unless the pod was told to stop.
    """

    pod: PodRecord
    events: Sequence[Event]
    #: starting, ready, unready, draining, stopping, and gone until a restart.
    phases: Sequence[Span]
    endpoint: Sequence[Span]
    #: When clients were sent to it; None where nobody can tell.
    seen: Sequence[Span] | None
    #: It was deleted or evicted: the grace period began.
    told_at: float | None = None
    signalled_at: float | None = None
    #: By its own log.
    draining_at: float | None = None
    #: It closed its listener.
    closed_at: float | None = None
    killed_at: float | None = None
    gone_at: float | None = None
    grace_ends_at: float | None = None
    #: The grace period in seconds that its deletion gave it, if that is shorter than the pod's.
    short_grace: float | None = None
    limit_at: float | None = None
    #: The last moment at which a client could be sent to it.
    last_arrival: float | None = None
    #: The earliest exit that loses nothing.
    possible_at: float | None = None
    #: The service's own account of its stop, and when it was written.
    report: dict[str, Any] | None = None
    reported_at: float | None = None

    @property
    def name(self) -> str:
        return self.pod.name

    @property
    def stop_began(self) -> float | None:
        return self.told_at if self.draining_at is None else self.draining_at

    @property
    def cut(self) -> list[str]:
        """What could not end by itself, by name."""
        return [str(name) for name in (self.report or {}).get("cut", ())]

    @property
    def decided_by(self) -> str:
        """The rule of the drain policy that was the last to be content; empty if nobody says."""
        return str((self.report or {}).get("decided_by", ""))

    def phase(self, at: float) -> str:
        return next((span.name for span in self.phases if span.holds(at)), "")

    def times(self, what: str) -> list[float]:
        return [event.at for event in self.events if event.what == what]
