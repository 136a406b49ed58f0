"""What a stop did: each step as it happens, and a summary in one line at the end."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import structlog

from app.lifecycle.event import Event
from app.lifecycle.phase import Lifecycle, Phase
from app.observability.pipe import AT_EXIT, STDOUT

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a stop, ``elapsed`` seconds after the request to stop."""

    phase: Phase
    elapsed: float
    what: str

    @property
    def text(self) -> str:
        """For those who follow the stop."""
        return f"{self.elapsed:6.2f} s  {self.what}"


@dataclass(slots=True)
class Journal:
    """The steps of a stop, each logged once; preStop hooks follow them."""

    lifecycle: Lifecycle
    steps: list[Step] = field(default_factory=list)
    #: What was cut off, by name; not empty means exit code 1.
    cut: list[str] = field(default_factory=list)
    _more: Event = field(default_factory=Event)

    def note(self, text: str, **fields: object) -> None:
        """Record and log a step; main thread only."""
        elapsed = self.lifecycle.elapsed()
        log.info("stop", step=text, elapsed=round(elapsed, 3), **fields)
        self.steps.append(Step(self.lifecycle.phase, elapsed, text))
        more, self._more = self._more, Event()
        more.set()

    async def follow(self) -> AsyncIterator[Step]:
        """Yield all steps from the first, as they happen; from any event loop."""
        seen = 0
        while True:
            more = self._more
            for step in self.steps[seen:]:
                seen += 1
                yield step
            await more.wait()


@dataclass(slots=True)
class Report:
    """The last line of a stop."""

    reason: str
    exit_code: int
    #: The date that ended the drain; empty if there was none.
    decided_by: str
    #: Seconds per phase, and in ``total``.
    seconds: dict[str, float]
    components: dict[str, float]
    #: Requests completed and connections accepted while draining.
    requests_served: int
    connections_served: int
    #: Requests that arrived too late and got 503.
    requests_refused: int
    streams_ended: int
    tasks_finished: int
    tasks_cut: list[str]
    requests_cut: list[str]
    #: Steps that exceeded their share of the budget, and whose time they used.
    overran: dict[str, str]
    #: The real grace period in seconds, if a SIGTERM before the hook's end showed that it is
    #: shorter; else 0.
    found_grace: float
    #: Everything that was cut off, by name.
    cut: list[str]

    def write(self, identity: Mapping[str, str], timeout: float) -> None:
        """Write the report as one JSON object, also to a terminal; it is the last line.

        ``identity`` names the pod. A log that cannot be written within ``timeout``
        seconds, such as a full pipe, does not affect the stop.
        """
        line = {"event": "stopped", "level": "info" if self.exit_code == 0 else "error"}
        stamp = {"timestamp": datetime.now(UTC).isoformat(), "phase": Phase.STOPPED.label}
        text = json.dumps({**line, **identity, **asdict(self), **stamp}) + "\n"
        STDOUT.last(text, timeout)


def time_to_write(lifecycle: Lifecycle) -> float:
    """Seconds that writing the report may take: less when the watchdog is about to act.

    Once it acts, ``faulthandler`` ends the process after half of the remaining time.
    """
    left = lifecycle.watchdog_at - time.monotonic()
    return min(AT_EXIT, left / 2 if left > 0 else lifecycle.remaining() / 4)


def seconds_per_phase(entered: Mapping[Phase, float], now: float) -> dict[str, float]:
    """How long each phase of the stop lasted; ``entered`` is monotonic."""
    stopping = entered.get(Phase.STOPPING, now)
    began = entered.get(Phase.DRAINING, stopping)
    spans = {"draining": stopping - began, "stopping": now - stopping, "total": now - began}
    return {name: round(span, 3) for name, span in spans.items()}
