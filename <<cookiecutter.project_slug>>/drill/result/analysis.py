"""A rehearsal, looked through: every loss explained, every fault named."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from drill.load.ledger import Kind, Sample
from drill.load.loss import Lost, Reason
from drill.rehearsal import Rehearsal
from drill.result import lanes, logs
from drill.result.budgets import Budgets
from drill.result.case import Case, View
from drill.result.faults import faults_of_losses, faults_of_stops
from drill.result.lane import Lane

#: By more than this the drill's own machine was too slow for its figures to be the service's.
LATE_SECONDS = 0.5


@dataclass(frozen=True)
class Analysis:
    """``losses`` has those that are excused, ``faults`` has not; it passes without faults."""

    rehearsal: Rehearsal
    view: View
    #: When the load ended; what came after is no part of it.
    end: float
    losses: Sequence[Case]
    faults: Sequence[str]
    jobs_missing: int

    @classmethod
    def of(cls, rehearsal: Rehearsal) -> Self:
        timeline, job = rehearsal.timeline, rehearsal.plan.routes.job
        end = timeline.first("load ended") or timeline.now()
        said = {pod.name: logs.read(pod.log, timeline, job) for pod in rehearsal.pods}
        budgets = Budgets.read(rehearsal.workload, rehearsal.plan.environment)
        found = lanes.build(rehearsal, said, budgets, end)
        view = View(rehearsal, budgets, {lane.name: lane for lane in found})
        done = {job for log in said.values() for job in log.jobs_done}
        missing = list(_undone(view, done, end))
        lost = [sample for sample in rehearsal.ledger.samples if sample.lost]
        cases = [_case(view, sample) for sample in (*lost, *missing)]
        cases.sort(key=lambda case: case.at)
        counted = [case for case in cases if not case.excused]
        faults = (*rehearsal.faults, *faults_of_losses(counted), *faults_of_stops(view))
        return cls(rehearsal, view, end, cases, tuple(dict.fromkeys(faults)), len(missing))

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
        """One line without the word of whether it passed."""
        lost, sent = len(self.losses) - self.excused, len(self.rehearsal.ledger.samples)
        text = f"{lost} of {sent:,} requests and streams lost"
        late = sum(case.out_of_time for case in self.losses)
        if late:
            text += f", {late} more because a deletion's grace period was over"
        if self.excused > late:
            text += f", {self.excused - late} more that no service could have served"
        if self.faults and not lost:
            text += ", but not all went well"
        if self.rehearsal.late > LATE_SECONDS:
            text += (
                f" (the load was starved, up to {self.rehearsal.late:.1f} s late itself: "
                "its figures are not the service's; lower --rate)"
            )
        return text


def _undone(view: View, done: set[str], end: float) -> Iterator[Sample]:
    """Jobs that were accepted and whose effect never appeared, lost with the end of their pod."""
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
