"""The analysis of a rehearsal: every loss explained, every fault named."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from drill.load.ledger import Kind, Lost, Reason, Sample
from drill.rehearsal import Rehearsal
from drill.result import checks, lanes, stop
from drill.result.case import Case, View, cut_others, cut_requests, hook_fault, why_cut, why_killed
from drill.result.checks import Check
from drill.result.lanes import SIGKILLED, Lane
from drill.result.remedies import endpoint, remedy
from drill.result.stop import Budgets

NO_FLIP = (
    "its readiness probe still succeeded after it was told to stop: readiness must become false "
    "first, because load balancers and evictions depend on it (probe /readyz)"
)


def faults_of_losses(cases: Sequence[Case]) -> Iterator[str]:
    """Yield one fault for each remedy: how requests were lost, where and when."""
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
    """Return, for example, "refused: 9 new connections, 2 uploads; timed out: 1 job"."""
    ways: dict[str, Counter[str]] = defaultdict(Counter)
    for case in cases:
        ways[str(case.lost)][case.sample.kind] += 1
    return "; ".join(
        f"{way}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        for way, kinds in ways.items()
    )


def span(cases: Sequence[Case]) -> str:
    """Return when they were lost, relative to the stop of their pods if possible."""
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
        for why in sorted(
            {e.detail for e in lane.events if e.what in ("probe failed", "restarting")}
        ):
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
    if lane.short_grace is None:  # with a short grace period, cutting off is no fault
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
    """Return whether the scenario killed it."""
    return any(e.what == "SIGKILL" and e.detail == "crash" for e in lane.events)


#: If the load is later than this, the machine is too slow for meaningful figures.
LATE_SECONDS = 0.5


@dataclass(frozen=True)
class Analysis:
    """``losses`` includes excused ones, ``faults`` does not; no faults means passed."""

    rehearsal: Rehearsal
    view: View
    #: The end of the load; later events are ignored.
    end: float
    losses: Sequence[Case]
    checks: Sequence[Check]
    faults: Sequence[str]
    jobs_missing: int

    @classmethod
    def of(cls, rehearsal: Rehearsal) -> Self:
        timeline, job = rehearsal.timeline, rehearsal.plan.routes.job
        end = timeline.first("load ended") or timeline.now()
        logs = {pod.name: stop.read(pod.log, timeline, job) for pod in rehearsal.pods}
        budgets = Budgets.read(rehearsal.workload, rehearsal.plan.environment)
        found = lanes.build(rehearsal, logs, budgets, end)
        view = View(rehearsal, budgets, {lane.name: lane for lane in found})
        done = {job for log in logs.values() for job in log.jobs_done}
        missing = list(_undone(view, done, end))
        lost = [sample for sample in rehearsal.ledger.samples if sample.lost]
        cases = [_case(view, sample) for sample in (*lost, *missing)]
        cases.sort(key=lambda case: case.at)
        counted = [case for case in cases if not case.excused]
        checked = checks.of(view)
        missed = (check.fault for check in checked if not check.passed)
        faults = (*rehearsal.faults, *missed, *faults_of_losses(counted), *faults_of_stops(view))
        once = tuple(dict.fromkeys(faults))
        return cls(rehearsal, view, end, cases, checked, once, len(missing))

    @property
    def passed(self) -> bool:
        return not self.faults

    @property
    def lanes(self) -> Sequence[Lane]:
        return list(self.view.lanes.values())

    @property
    def excused(self) -> int:
        return sum(case.excused for case in self.losses)

    @property
    def verdict(self) -> str:
        """The outcome in one line, without PASSED or FAILED."""
        lost, sent = len(self.losses) - self.excused, len(self.rehearsal.ledger.samples)
        text = f"{lost} of {sent:,} requests and streams lost"
        if shed := sum(sample.shed for sample in self.rehearsal.ledger.samples):
            text += f", {shed:,} shed"
        late = sum(case.out_of_time for case in self.losses)
        if late:
            text += f", {late} more because a deletion's grace period was over"
        if self.excused > late:
            text += f", {self.excused - late} more {self.rehearsal.scenario.excused}"
        if self.faults and not lost:
            text += ", but there are other faults"
        if self.rehearsal.late > LATE_SECONDS:
            text += (
                f" (the load itself was up to {self.rehearsal.late:.1f} s late, so its figures "
                "are not the service's: lower --rate)"
            )
        return text


def _undone(view: View, done: set[str], end: float) -> Iterator[Sample]:
    """Yield accepted jobs that were never logged as done, lost at the end of their pod."""
    for job in view.rehearsal.ledger.jobs:
        if job.id not in done:
            lane = view.lanes.get(job.pod)
            gone = lane.gone_at if lane and lane.gone_at is not None else end
            yield Sample(Kind.JOB, job.pod, job.accepted, gone, Lost(Reason.UNDONE))


def _case(view: View, sample: Sample) -> Case:
    assert sample.lost is not None
    scenario, timeline = view.rehearsal.scenario, view.rehearsal.timeline
    met = [view.lanes.get(sample.pod)] if sample.pod else view.lanes.values()
    for lane in met:
        if lane is not None and scenario.excuses(sample, lane.pod, timeline):
            return Case(view, sample, sample.lost, lane, excused=True)
    lane = view.lanes.get(sample.pod) if sample.pod else view.suspect(sample.ended)
    case = Case(view, sample, sample.lost, lane)
    return replace(case, excused=case.out_of_time)
