"""A loss with all that may explain it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from drill.load.ledger import Sample
from drill.load.loss import Lost, Reason
from drill.plan import Plan
from drill.rehearsal import Rehearsal
from drill.result.budgets import Budgets
from drill.result.lane import Lane

#: Timelines and logs have clocks of their own, and a log line is written before what it tells of.
TOLERANCE_SECONDS = 0.1
#: A client that cannot tell which pod it met most probably met one that ended at most so long ago.
SUSPICION_SECONDS = 15.0


@dataclass(frozen=True)
class View:
    """The rehearsal as the rules see it."""

    rehearsal: Rehearsal
    budgets: Budgets
    lanes: Mapping[str, Lane]

    @property
    def plan(self) -> Plan:
        return self.rehearsal.plan

    @cached_property
    def needed_floor(self) -> int | None:
        """Whole seconds for which clients were sent to a pod that had begun to stop, at most."""
        spans = [
            lane.last_arrival - lane.stop_began
            for lane in self.lanes.values()
            if lane.last_arrival is not None and lane.stop_began is not None
        ]
        return math.ceil(max(spans)) if spans else None

    @cached_property
    def served(self) -> Mapping[str, Sequence[Sample]]:
        """What each pod answered."""
        found: dict[str, list[Sample]] = {name: [] for name in self.lanes}
        for sample in self.rehearsal.ledger.samples:
            if not sample.lost and not sample.kind.is_stream:
                found.setdefault(sample.pod, []).append(sample)
        return found

    def suspect(self, at: float) -> Lane | None:
        """The pod that stopped listening last before ``at``."""
        ended = [
            (lane.closed_at, lane)
            for lane in self.lanes.values()
            if lane.closed_at is not None and 0 <= at - lane.closed_at <= SUSPICION_SECONDS
        ]
        return max(ended, key=lambda pair: pair[0])[1] if ended else None


@dataclass(frozen=True)
class Case:
    """``lane`` is the pod's, as far as the client knows which it was."""

    view: View
    sample: Sample
    lost: Lost
    lane: Lane | None
    excused: bool = False

    @property
    def at(self) -> float:
        """When it happened; a client that waits in vain has met the trouble as it began to."""
        return self.sample.began if self.reason is Reason.TIMEOUT else self.sample.ended

    @property
    def reason(self) -> Reason:
        return self.lost.reason

    @property
    def told(self) -> bool:
        return self._since(self.lane.told_at if self.lane else None)

    @property
    def after_close(self) -> bool:
        """It met a listener that was closed."""
        return self._since(self.lane.closed_at if self.lane else None)

    @property
    def after_kill(self) -> bool:
        return self._since(self.lane.killed_at if self.lane else None)

    @property
    def in_flight_at_close(self) -> bool:
        """It had begun before the listener closed, and ended with it."""
        lane = self.lane
        if lane is None or lane.closed_at is None:
            return False
        return self.sample.began < lane.closed_at and self.after_close

    @property
    def out_of_time(self) -> bool:
        """A deletion with a short grace period lost it: the pod had to end before this did.

        What an open stream needs for a proper end, or a listener that closed
        sooner by itself, is the service's affair.
        """
        lane = self.lane
        if lane is None or lane.short_grace is None or lane.killed_at is not None:
            return False
        if not self._since(lane.grace_ends_at):
            return False
        if self.sample.kind.is_stream and self.arrived and self.reason is not Reason.STATUS:
            return self.sample.began >= (lane.grace_ends_at or 0.0)
        closed, over = lane.closed_at, lane.grace_ends_at
        return closed is None or over is None or closed >= over - TOLERANCE_SECONDS

    @property
    def arrived(self) -> bool:
        """The pod had taken the connection."""
        return self.reason not in (Reason.REFUSED, Reason.NO_ENDPOINT) and (
            "connecting" not in self.lost.detail
        )

    @property
    def reused(self) -> bool:
        return "kept connection" in self.lost.detail

    def _since(self, date: float | None) -> bool:
        return date is not None and self.at >= date - TOLERANCE_SECONDS
