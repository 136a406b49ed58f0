"""The lines of the load, read back into a ledger."""

import asyncio
import json
from collections import Counter
from typing import Any

from drill.backend import LoadResult
from drill.cluster.clock import ClusterTimeline
from drill.errors import DrillError
from drill.load.ledger import Job, Kind, Ledger, Sample
from drill.load.loss import Lost, Reason


class Feed:
    """Takes each line once; ``result`` when the last has come."""

    def __init__(self, timeline: ClusterTimeline) -> None:
        self.begun = asyncio.Event()
        #: The last line: what is over, or why it failed.
        self.last: dict[str, Any] | None = None
        #: What else was written, as by an interpreter that fails.
        self.noise: list[str] = []
        self._lines = 0
        self._entries: list[dict[str, Any]] = []
        self._timeline = timeline

    def take(self, line: str) -> None:
        try:
            entry = json.loads(line)
            number, wall, entries = int(entry["n"]), float(entry["at"]), list(entry["of"])
        except (ValueError, KeyError, TypeError):
            self.noise.append(line)
            return
        self._timeline.heard(wall)
        if number < self._lines:
            return
        if number > self._lines:
            raise DrillError(
                f"lines {self._lines} to {number - 1} of the load's log are missing: "
                "lower --rate, or let the node keep longer logs (containerLogMaxSize)."
            )
        self._lines += 1
        self._entries += entries
        self.begun.set()
        if entries[-1]["what"] in ("end", "failed"):
            self.last = entries[-1]

    def result(self) -> LoadResult:
        """Raises DrillError for a load that failed, or whose end was not heard."""
        if self.last is None or self.last["what"] == "failed":
            said = self.last["text"] if self.last else " ".join(self.noise[-3:])
            raise DrillError(f"the load ended early: {said or 'its log says nothing'}.")
        of = self._timeline.of
        ledger = Ledger(self._timeline.now)
        for entry in self._entries:
            at = of(entry["at"])
            if entry["what"] in ("served", "lost"):
                reason = entry.get("reason")
                lost = Lost(Reason(reason[0]), reason[1]) if reason else None
                kind = Kind(entry["kind"])
                ledger.samples.append(Sample(kind, entry["pod"], of(entry["began"]), at, lost))
            elif entry["what"] == "accepted":
                ledger.jobs.append(Job(entry["job"], entry["pod"], at))
        for name in ("messages", "streams_left_open"):
            counts = {Kind(kind): count for kind, count in self.last[name].items()}
            setattr(ledger, name, Counter(counts))
        return LoadResult(ledger, self.last["late"])
