"""What a stop did: each step as it happens, and one line about all of it at the end."""

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
    """One step of a stop; ``text`` begins with the seconds since it was asked for."""

    phase: Phase
    text: str


@dataclass(slots=True)
class Journal:
    """The steps of a stop, each noted and logged once; followed by preStop hooks."""

    lifecycle: Lifecycle
    steps: list[Step] = field(default_factory=list)
    #: What could not end by itself, by name; not empty means exit code 1.
    cut: list[str] = field(default_factory=list)
    _more: Event = field(default_factory=Event)

    def note(self, text: str, **fields: object) -> None:
        """Note a step of the stop, in the main thread."""
        elapsed = self.lifecycle.elapsed()
        log.info("stop", step=text, elapsed=round(elapsed, 3), **fields)
        self.steps.append(Step(self.lifecycle.phase, f"{elapsed:6.2f} s  {text}"))
        more, self._more = self._more, Event()
        more.set()

    async def follow(self) -> AsyncIterator[Step]:
        """All steps from the first one, as they come; from any event loop."""
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
    #: What the drain waited for last before it let go; empty if it did not get there.
    decided_by: str
    #: Seconds per phase, and ``total`` from the request to stop to the end.
    seconds: dict[str, float]
    components: dict[str, float]
    #: Requests that ended, and connections that were accepted, while draining.
    requests_served: int
    connections_served: int
    #: Requests that came too late and got 503.
    requests_refused: int
    streams_ended: int
    tasks_finished: int
    tasks_cut: list[str]
    requests_cut: list[str]
    #: Steps that took more than their share of the stop's budget, and whose time it was.
    overran: dict[str, str]
    #: The shorter grace period that a SIGTERM before the hook's end told of, in seconds; else 0.
    found_grace: float
    #: All that could not end by itself, by name.
    cut: list[str]

    def write(self, identity: Mapping[str, str], timeout: float) -> None:
        """Write the report as one JSON object, on a terminal too; nothing comes after it.

        ``identity`` says whose it is. A log that cannot be written within ``timeout``
        seconds, as to a pipe that nobody reads, changes nothing about the stop.
        """
        line = {"event": "stopped", "level": "info" if self.exit_code == 0 else "error"}
        stamp = {"timestamp": datetime.now(UTC).isoformat(), "phase": Phase.STOPPED.label}
        text = json.dumps({**line, **identity, **asdict(self), **stamp}) + "\n"
        STDOUT.last(text, timeout)


def time_to_write(lifecycle: Lifecycle) -> float:
    """Seconds for which the last line may keep the process: less when the watchdog is near.

    Once it acts, ``faulthandler`` ends the process in half of what remains.
    """
    left = lifecycle.last_call - time.monotonic()
    return min(AT_EXIT, left / 2 if left > 0 else lifecycle.remaining() / 4)


def seconds_per_phase(entered: Mapping[Phase, float], now: float) -> dict[str, float]:
    """How long each phase of the stop lasted; ``entered`` is monotonic."""
    stopping = entered.get(Phase.STOPPING, now)
    began = entered.get(Phase.DRAINING, stopping)
    spans = {"draining": stopping - began, "stopping": now - stopping, "total": now - began}
    return {name: round(span, 3) for name, span in spans.items()}
