"""The rehearsal's clock, and how far the cluster's clocks are from it."""

import bisect
from collections.abc import Callable
from datetime import datetime

from drill.timeline import Event, Timeline


class ClusterTimeline(Timeline):
    """A timeline on which times of the nodes' clocks can be placed.

    Until something was heard from a node, its clock is taken for this
    machine's. From then on the least difference between when a line was
    written there and when it arrived here is taken for the difference of the
    clocks. What a node says is therefore placed too late by the fastest
    journey of a line, some milliseconds up to about 0.1 s, and the clocks of the
    nodes are taken for one: NTP keeps them within milliseconds.
    """

    def __init__(self, echo: Callable[[str], None]) -> None:
        super().__init__(echo)
        self._offset = -self._zero_wall
        self._heard = False

    def heard(self, wall: float) -> None:
        """A line arrives now that was written at ``wall``, seconds since 1970 on its node."""
        offset = self.now() - wall
        self._offset = min(offset, self._offset) if self._heard else offset
        self._heard = True

    def at(self, timestamp: str) -> float:
        return self.of(datetime.fromisoformat(timestamp).timestamp())

    def of(self, wall: float) -> float:
        """A node's time, in seconds since 1970, on this clock."""
        return wall + self._offset

    def place(self, at: float, what: str, pod: str, detail: str = "") -> None:
        """Notes an event that is told later than it happened, where it belongs."""
        self.mark(what, pod, detail)
        self.events.pop()
        bisect.insort(self.events, Event(at, what, pod, detail), key=lambda event: event.at)
