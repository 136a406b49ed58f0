"""[drill.result.case] A loss with all that may explain it.
[drill.result.causes] What was wrong with a stop, in words that losses and stops share.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from drill.load.ledger import Lost, Reason, Sample
from drill.plan import Plan
from drill.rehearsal import Rehearsal
from drill.result.lanes import SIGKILLED, Lane
from drill.result.stop import Budgets

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


HOOK = "python -m app drain"
#: Exit codes of a shell and of container runtimes.
NOT_EXECUTABLE, NOT_FOUND = 126, 127
#: As the service's watchdog reports it.
OVERRUN = "the stop itself"


def why_killed(view: View, lane: Lane) -> str:
    """The grace period was over before the container had ended."""
    budgets = view.budgets
    if lane.short_grace is not None:
        return (
            f"not ended within the {lane.short_grace:g} s of its deletion and the two after "
            "SIGTERM: its log ends with what was stuck"
        )
    if budgets.needed is not None and budgets.grace < budgets.needed:
        return (
            f"terminationGracePeriodSeconds {budgets.grace:g} is shorter than the service's own "
            f"limit + stream spread + farewell + stop = {budgets.needed:g}: let the chart add it up"
        )
    over = f"not ended within terminationGracePeriodSeconds {budgets.grace:g}"
    if routes := cut_requests(lane.cut):
        return f"{over}, {routes} did not end: give what it awaits a timeout"
    if view.plan.variant != "service":
        return f"{over}: requests and streams have to be told to end"
    return f"{over}: its log ends with what was stuck"


def why_out_of_time(lane: Lane | None) -> str:
    grace = lane.short_grace if lane else None
    of = "" if grace is None else f" of {grace:g} s"
    return f"the grace period{of} that its deletion gave it was over, which no setting could change"


def why_cut(view: View, routes: str) -> str:
    limit = view.budgets.limit
    at = "" if limit is None else f" at the limit of {limit:g} s"
    return (
        f"{routes} did not end and was cut off{at}: give what it awaits a timeout, "
        "or raise shutdown.limitSeconds"
    )


def why_no_drain(view: View, lane: Lane) -> str:
    """It does not drain: by its log it never entered that phase."""
    needed = view.needed_floor
    span = "until clients know" if needed is None else f"for {max(needed, 1)} s"
    if view.rehearsal.workload.template.pre_stop is None:
        return (
            "SIGTERM ends its serving at once and there is no preStop hook: "
            f"drain first ({HOOK} as preStop)"
        )
    return f"it ends at SIGTERM without a drain: let its preStop hook hold it {span} ({HOOK})"


#: What the drain policy went by, and the value that makes it wait longer.
LONGER = {
    "fallback": "fallbackSeconds",
    "endpoint gone + slack": "slackSeconds",
    "last answer to itself + slack": "slackSeconds",
    "endpoint gone + fallback": "fallbackSeconds",
    "last answer to itself + fallback": "fallbackSeconds",
}


def why_too_soon(view: View, lane: Lane) -> str:
    """The listener closed while clients were still sent there."""
    floor, limit, needed = view.budgets.floor, view.budgets.limit, view.needed_floor
    if (value := LONGER.get(lane.decided_by.partition(" (")[0])) and needed is not None:
        return f"raise shutdown.{value}, or shutdown.floorSeconds to {needed}"
    if floor is None:
        longer = "longer" if needed is None else f"for {max(needed, 1)} s"
        return f"serve on {longer} after being told to stop"
    if needed is None:
        return "raise shutdown.floorSeconds"
    if limit is not None and floor >= needed:
        return f"raise shutdown.quietSeconds, or shutdown.floorSeconds above {floor:g}"
    above = "" if limit is None or limit > needed else " and shutdown.limitSeconds above it"
    return f"raise shutdown.floorSeconds to {needed}{above}"


def hook_fault(lane: Lane) -> str | None:
    """What is wrong with the hook itself, if anything is."""
    code = lane.pod.pre_stop_code
    if not code or (lane.cut and code == 1):  # a drain that had to cut says so by a 1
        return None
    if code in SIGKILLED:
        expected = lane.killed_at is not None or lane.short_grace is not None
        return None if expected else _why_hook_killed(lane)
    why = {NOT_EXECUTABLE: ", no program that can be run", NOT_FOUND: ", no such program"}
    return (
        f"its preStop hook failed with {code}{why.get(code, '')}, so SIGTERM came at once: "
        f"it should be {HOOK}"
    )


def _why_hook_killed(lane: Lane) -> str:
    """By the kubelet at the end of the grace period, or by somebody else before."""
    over, told, signalled = lane.grace_ends_at, lane.told_at, lane.signalled_at
    if over is None or told is None or signalled is None or signalled < over - TOLERANCE_SECONDS:
        return "its preStop hook was killed: see its output"
    return (
        f"terminationGracePeriodSeconds {over - told:g} ended its preStop hook before it had "
        "drained: let the chart add the grace period up"
    )


def cut_requests(cut: Iterable[str]) -> str:
    """The requests among what was cut off, as in "GET /slow (6)"."""
    return count(name for name in cut if name.partition(" ")[2].startswith("/"))


def cut_others(cut: Iterable[str]) -> str:
    others = (name for name in cut if not name.partition(" ")[2].startswith("/"))
    return count(name for name in others if not name.startswith(OVERRUN))


def count(names: Iterable[str]) -> str:
    counts = Counter(names)
    return ", ".join(f"{name} ({n})" if n > 1 else name for name, n in counts.items())
