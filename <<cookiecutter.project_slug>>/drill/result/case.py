"""A loss, the facts that may explain it, and the reasons that losses and bad stops share."""

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

#: Timeline and logs have different clocks, and a line is logged just before its event.
TOLERANCE_SECONDS = 0.1
#: A client that does not know its pod probably reached one that ended at most this long ago.
SUSPICION_SECONDS = 15.0


@dataclass(frozen=True)
class View:
    """The rehearsal, as the rules use it."""

    rehearsal: Rehearsal
    budgets: Budgets
    lanes: Mapping[str, Lane]

    @property
    def plan(self) -> Plan:
        return self.rehearsal.plan

    @cached_property
    def needed_floor(self) -> int | None:
        """The longest time that clients were sent to a stopping pod, in whole seconds."""
        spans = [
            lane.last_request - lane.stop_began
            for lane in self.lanes.values()
            if lane.last_request is not None and lane.stop_began is not None
        ]
        return math.ceil(max(spans)) if spans else None

    @cached_property
    def served(self) -> Mapping[str, Sequence[Sample]]:
        """The answered requests of each pod."""
        found: dict[str, list[Sample]] = {name: [] for name in self.lanes}
        for sample in self.rehearsal.ledger.samples:
            if sample.served and not sample.kind.is_stream:
                found.setdefault(sample.pod, []).append(sample)
        return found

    def suspect(self, at: float) -> Lane | None:
        """Return the pod that was the last to close its listener before ``at``."""
        ended = [
            (lane.closed_at, lane)
            for lane in self.lanes.values()
            if lane.closed_at is not None and 0 <= at - lane.closed_at <= SUSPICION_SECONDS
        ]
        return max(ended, key=lambda pair: pair[0])[1] if ended else None


@dataclass(frozen=True)
class Case:
    """A loss; ``lane`` is the pod's, as far as the client knows it."""

    view: View
    sample: Sample
    lost: Lost
    lane: Lane | None
    excused: bool = False

    @property
    def at(self) -> float:
        """When it happened: for a timeout, when the request began."""
        return self.sample.began if self.reason is Reason.TIMEOUT else self.sample.ended

    @property
    def reason(self) -> Reason:
        return self.lost.reason

    @property
    def told(self) -> bool:
        return self._since(self.lane.told_at if self.lane else None)

    @property
    def after_close(self) -> bool:
        """The listener had closed."""
        return self._since(self.lane.closed_at if self.lane else None)

    @property
    def after_kill(self) -> bool:
        return self._since(self.lane.killed_at if self.lane else None)

    @property
    def in_flight_at_close(self) -> bool:
        """It began before the listener closed and ended with it."""
        lane = self.lane
        if lane is None or lane.closed_at is None:
            return False
        return self.sample.began < lane.closed_at and self.after_close

    @property
    def out_of_time(self) -> bool:
        """Lost because a deletion's short grace period was over.

        A stream that was not ended properly, or a listener that closed earlier by
        itself, is the service's fault instead.
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
        """The pod had accepted the connection."""
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
#: How the service's log names a stop that took too long.
OVERRUN = "the stop itself"


def why_killed(view: View, lane: Lane) -> str:
    """The reason for a container that outlived its grace period."""
    budgets = view.budgets
    if lane.short_grace is not None:
        return (
            f"did not exit within the {lane.short_grace:g} s of its deletion plus 2 s after "
            "SIGTERM: the end of its log shows what was stuck"
        )
    if budgets.needed is not None and budgets.grace < budgets.needed:
        return (
            f"terminationGracePeriodSeconds {budgets.grace:g} is shorter than the service's own "
            f"limit + stream spread + farewell + stop = {budgets.needed:g}: let the chart set it"
        )
    over = f"did not exit within terminationGracePeriodSeconds {budgets.grace:g}"
    if routes := cut_requests(lane.cut):
        return f"{over}, {routes} did not end: set a timeout on what it awaits"
    if view.plan.variant != "service":
        return f"{over}: requests and streams must be told to end"
    return f"{over}: the end of its log shows what was stuck"


def why_out_of_time(lane: Lane | None) -> str:
    grace = lane.short_grace if lane else None
    of = "" if grace is None else f" of {grace:g} s"
    return f"its deletion's grace period{of} was over; no setting could change that"


def why_cut(view: View, routes: str) -> str:
    limit = view.budgets.limit
    at = "" if limit is None else f" at the limit of {limit:g} s"
    return (
        f"{routes} did not end and was cut off{at}: set a timeout on what it awaits, "
        "or raise shutdown.limitSeconds"
    )


def why_no_drain(view: View, lane: Lane) -> str:
    """The reason for a pod that did not drain, according to its log."""
    needed = view.needed_floor
    span = "until clients have seen the change" if needed is None else f"for {max(needed, 1)} s"
    if view.rehearsal.workload.template.pre_stop is None:
        return (
            f"it stops serving at SIGTERM and has no preStop hook: drain first ({HOOK} as preStop)"
        )
    return f"it exits at SIGTERM without a drain: let its preStop hook wait {span} ({HOOK})"


#: The rule that ended the drain, and the value that makes it wait longer.
LONGER = {
    "fallback": "fallbackSeconds",
    "endpoint gone + slack": "slackSeconds",
    "last answer to itself + slack": "slackSeconds",
    "endpoint gone + fallback": "fallbackSeconds",
    "last answer to itself + fallback": "fallbackSeconds",
}


def why_too_soon(view: View, lane: Lane) -> str:
    """The remedy for a listener that closed while clients were still sent there."""
    floor, limit, needed = view.budgets.floor, view.budgets.limit, view.needed_floor
    if (value := LONGER.get(lane.decided_by.partition(" (")[0])) and needed is not None:
        return f"raise shutdown.{value}, or shutdown.floorSeconds to {needed}"
    if floor is None:
        longer = "longer" if needed is None else f"for {max(needed, 1)} s"
        return f"keep serving {longer} after being told to stop"
    if needed is None:
        return "raise shutdown.floorSeconds"
    if limit is not None and floor >= needed:
        return f"raise shutdown.quietSeconds, or shutdown.floorSeconds above {floor:g}"
    above = "" if limit is None or limit > needed else " and shutdown.limitSeconds above it"
    return f"raise shutdown.floorSeconds to {needed}{above}"


def hook_fault(lane: Lane) -> str | None:
    """Return what is wrong with the hook itself, if anything."""
    code = lane.pod.pre_stop_code
    if not code or (lane.cut and code == 1):  # 1 means that the drain cut something off
        return None
    if code in SIGKILLED:
        expected = lane.killed_at is not None or lane.short_grace is not None
        return None if expected else _why_hook_killed(lane)
    why = {NOT_EXECUTABLE: " (not executable)", NOT_FOUND: " (command not found)"}
    return (
        f"its preStop hook failed with {code}{why.get(code, '')}, so SIGTERM came at once: "
        f"it should be {HOOK}"
    )


def _why_hook_killed(lane: Lane) -> str:
    """The kubelet killed it at the end of the grace period, or something else did before."""
    over, told, signalled = lane.grace_ends_at, lane.told_at, lane.signalled_at
    if over is None or told is None or signalled is None or signalled < over - TOLERANCE_SECONDS:
        return "its preStop hook was killed: see its output"
    return (
        f"terminationGracePeriodSeconds {over - told:g} ended its preStop hook before the "
        "drain was complete: let the chart set the grace period"
    )


def cut_requests(cut: Iterable[str]) -> str:
    """Return the requests that were cut off, such as "GET /slow (6)"."""
    return count(name for name in cut if name.partition(" ")[2].startswith("/"))


def cut_others(cut: Iterable[str]) -> str:
    others = (name for name in cut if not name.partition(" ")[2].startswith("/"))
    return count(name for name in others if not name.startswith(OVERRUN))


def count(names: Iterable[str]) -> str:
    counts = Counter(names)
    return ", ".join(f"{name} ({n})" if n > 1 else name for name, n in counts.items())
