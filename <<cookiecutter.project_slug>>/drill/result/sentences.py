"""A loss in one sentence: what, by whom, when, where clients were sent, and what to do."""

from drill.load.loss import Reason
from drill.result.case import Case
from drill.result.remedies import remedy


def sentence(case: Case) -> str:
    """As in "refused by pod b, 0.8 s after its listener closed, endpoint still published: ..."."""
    parts = [f"{case.lost}{by(case)}", when(case)]
    if state := endpoint(case):
        parts.append(state)
    return f"{', '.join(parts)}: {remedy(case)}"


def by(case: Case) -> str:
    if case.reason is Reason.NO_ENDPOINT or not case.lane:
        return ""
    sure = bool(case.sample.pod)
    return f" by pod {case.lane.name}" if sure else f" (most likely by pod {case.lane.name})"


def when(case: Case) -> str:
    """Against the pod's own last event before it."""
    lane = case.lane
    if lane is None:
        return f"{case.at:.1f} s into the rehearsal"
    for date, event in (
        (lane.killed_at, "after it was killed"),
        (lane.closed_at, "after its listener closed"),
        (lane.told_at, "after it was told to stop"),
    ):
        if date is not None and case.at >= date:
            return f"{case.at - date:.1f} s {event}"
    phase = lane.phase(case.at)
    return f"{case.at:.1f} s into the rehearsal" + (f", while {phase}" if phase else "")


def endpoint(case: Case) -> str:
    """What clients knew of the pod at that time; nothing where it does not matter."""
    lane = case.lane
    if lane is None or not case.told:
        return ""
    if lane.seen is not None and any(span.holds(case.at) for span in lane.seen):
        return "endpoint still published"
    state = next((span.name for span in lane.endpoint if span.holds(case.at)), "gone")
    return f"endpoint {state} in the API"
