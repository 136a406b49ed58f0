"""What a pod says about its own stop: its log, one JSON object a line."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drill.timeline import Timeline


@dataclass
class PodLog:
    #: When each phase began, on the rehearsal's clock.
    phases: dict[str, float] = field(default_factory=dict)
    jobs_done: set[str] = field(default_factory=set)
    #: The ``stopped`` event, when it is the last line.
    report: dict[str, Any] | None = None


def read(path: Path, timeline: Timeline) -> PodLog:
    log = PodLog()
    for line in path.read_text("utf-8", "replace").splitlines():
        entry = _parse(line)
        match entry.get("event"):
            case "phase":
                phase = str(entry.get("phase")).lower()
                log.phases.setdefault(phase, timeline.at(str(entry["timestamp"])))
            case "job done":
                log.jobs_done.add(str(entry.get("job_id")))
        if line.strip():
            log.report = entry if entry.get("event") == "stopped" else None
    return log


def tail(path: Path, lines: int = 8) -> str:
    text = path.read_text("utf-8", "replace") if path.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (nothing)"


def _parse(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
