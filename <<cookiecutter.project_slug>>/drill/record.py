"""What a rehearsal leaves behind, whichever backend it ran on."""

from dataclasses import dataclass
from pathlib import Path


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
