"""A pod's stop: the times it was given, and what its log says."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from drill.chart import Workload
from drill.load.routes import Job
from drill.record import Timeline

#: Two farewells of one second each (`farewell` in chart/templates/_times.tpl).
FAREWELL_SECONDS = 2.0
VARIABLE = "APP_SHUTDOWN__{}_SECONDS"


@dataclass(frozen=True)
class Budgets:
    """The stop's budgets in seconds; None if the container's environment does not set one."""

    floor: float | None
    slack: float | None
    fallback: float | None
    quiet: float | None
    limit: float | None
    stream_spread: float | None
    farewell: float | None
    stop: float | None
    #: ``terminationGracePeriodSeconds`` of the pod.
    grace: float
    #: What the chart adds to the sum of the others.
    margin: float | None

    @classmethod
    def read(cls, workload: Workload, over: Mapping[str, str]) -> Self:
        """Read a container's environment, overridden by ``over``."""
        variables = _values(workload.template.container) | dict(over)

        def seconds(name: str) -> float | None:
            return _number(variables.get(VARIABLE.format(name)))

        spread, planned = seconds("STREAM_SPREAD"), seconds("GRACE")
        parts = cls(
            floor=seconds("FLOOR"),
            slack=seconds("SLACK"),
            fallback=seconds("FALLBACK"),
            quiet=seconds("QUIET"),
            limit=seconds("LIMIT"),
            stream_spread=spread,
            farewell=None if spread is None else FAREWELL_SECONDS,
            stop=seconds("STOP"),
            grace=workload.template.grace,
            margin=None,
        )
        if planned is None or (needed := parts.needed) is None:
            return parts
        return cls(**{**asdict(parts), "margin": planned - needed})

    @property
    def needed(self) -> float | None:
        """The longest stop that the service allows itself; None if unknown."""
        parts = (self.limit, self.stream_spread, self.farewell, self.stop)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def _values(container: Mapping[str, Any]) -> dict[str, str]:
    return {v["name"]: str(v["value"]) for v in container.get("env", ()) if "value" in v}


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


#: In order; a service only moves forward.
PHASES = ("starting", "ready", "draining", "stopping", "stopped")


@dataclass
class Life:
    """One run of the container, which may be restarted."""

    #: The start of each phase, on the rehearsal's clock.
    phases: dict[str, float] = field(default_factory=dict)
    #: The log event ``stopped`` with all its fields, and its time.
    report: dict[str, Any] | None = None
    reported_at: float | None = None

    def may_enter(self, phase: str) -> bool:
        later = PHASES[PHASES.index(phase) :]
        return not any(known in self.phases for known in later)


@dataclass
class PodLog:
    """At least one life; it is empty if no phases are logged as JSON."""

    lives: list[Life] = field(default_factory=lambda: [Life()])
    #: The ids of jobs that were logged as done.
    jobs_done: set[str] = field(default_factory=set)

    @property
    def speaks(self) -> bool:
        return any(life.phases for life in self.lives)

    def last(self, started: float | None) -> Life:
        """Return the life that began at ``started``, None if there was only one."""
        life = self.lives[-1]
        if started is None or any(at >= started for at in life.phases.values()):
            return life
        return Life()


def read(path: Path, timeline: Timeline, job: Job | None = None) -> PodLog:
    """Read phases, the stop's report and done jobs from a log; ignore other lines."""
    log, job = PodLog(), job or Job("/")
    for entry in _entries(path):
        at = _time(entry, timeline)
        event = entry.get("event")
        if event == job.done and job.done_id in entry:
            log.jobs_done.add(str(entry[job.done_id]))
        if at is None:
            continue
        if event == "phase" and (phase := str(entry.get("phase")).lower()) in PHASES:
            if not log.lives[-1].may_enter(phase):
                log.lives.append(Life())
            log.lives[-1].phases[phase] = at
        elif event == "stopped":
            log.lives[-1].report, log.lives[-1].reported_at = entry, at
    return log


def tail(path: Path, lines: int = 8) -> str:
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing)"


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        try:
            entry = json.loads(line)
        except ValueError:  # cut short by a kill
            continue
        if isinstance(entry, dict):
            yield entry


def _time(entry: dict[str, Any], timeline: Timeline) -> float | None:
    try:
        return timeline.at(str(entry["timestamp"]))
    except (KeyError, ValueError):
        return None
