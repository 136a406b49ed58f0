"""What has to be put right, a sentence each: losses of the same kind together, and bad stops."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from drill.result.case import Case, View
from drill.result.causes import (
    SIGKILLED,
    cut_others,
    cut_requests,
    hook_fault,
    why_cut,
    why_killed,
)
from drill.result.lane import Lane
from drill.result.remedies import remedy
from drill.result.sentences import endpoint

NO_FLIP = (
    "its readiness probe still succeeded after it was told to stop: readiness has to go false "
    "first, for balancers and evictions go by it (probe /readyz)"
)


def faults_of_losses(cases: Sequence[Case]) -> Iterator[str]:
    """One for each remedy: what it would have saved, by how it was lost, and when."""
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[remedy(case)].append(case)
    for why, group in groups.items():
        pods = sorted({case.lane.name for case in group if case.lane})
        by = f" by {', '.join(pods)}" if pods else ""
        states = ", ".join(sorted({state for case in group if (state := endpoint(case))}))
        known = f", {states}" if states else ""
        yield f"{_counts(group)}{by}, {span(group)}{known}: {why}"


def _counts(cases: Sequence[Case]) -> str:
    """As in "refused: 9 new connections, 2 uploads; timed out: 1 job"."""
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        ways[str(case.lost)][case.sample.kind] += 1
    return "; ".join(
        f"{way}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        for way, kinds in ways.items()
    )


def span(cases: Sequence[Case]) -> str:
    """When they were lost, in seconds after their pods were told to stop if they were."""
    if all(case.told for case in cases):
        times = [case.at - (case.lane.told_at or 0.0) for case in cases if case.lane]
        end = "after it was told to stop"
    else:
        times, end = [case.at for case in cases], "into the rehearsal"
    first, last = min(times), max(times)
    return f"{first:.1f} s {end}" if last - first < 0.1 else f"{first:.1f} to {last:.1f} s {end}"


def faults_of_stops(view: View) -> Iterator[str]:
    pods: dict[str, list[str]] = defaultdict(list)
    for lane in view.lanes.values():
        for fault in _faults(view, lane):
            pods[fault].append(lane.name)
    for fault, names in pods.items():
        yield f"{', '.join(names)}: {fault}"


def _faults(view: View, lane: Lane) -> Iterator[str]:
    if not _crashed(lane):
        for why in sorted({e.detail for e in lane.events if e.what in ("unwell", "restarting")}):
            yield f"its container was restarted, {why}: see its log and its liveness probe"
    if lane.told_at is None:
        return
    if fault := hook_fault(lane):
        yield fault
    if lane.times("still ready"):
        yield NO_FLIP
    if lane.killed_at is not None:
        yield why_killed(view, lane)
        return
    if lane.short_grace is None:  # what is cut then is no fault of the service's
        yield from _cut(view, lane)
    if lane.gone_at is not None and not lane.cut and view.plan.variant == "service":
        yield from _end(lane)


def _cut(view: View, lane: Lane) -> Iterator[str]:
    if routes := cut_requests(lane.cut):
        yield why_cut(view, routes)
    if others := cut_others(lane.cut):
        yield f"cut off at the stop: {others}"


def _end(lane: Lane) -> Iterator[str]:
    if lane.pod.exit_code and lane.pod.exit_code not in SIGKILLED:
        yield f"it exited with {lane.pod.exit_code}: see its log"
    if lane.report is None:
        yield 'its log does not end with a report of the stop (event "stopped")'


def _crashed(lane: Lane) -> bool:
    """The scenario killed it before anybody told it to stop."""
    return any(e.what == "SIGKILL" and e.detail == "crash" for e in lane.events)
