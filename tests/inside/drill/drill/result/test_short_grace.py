"""What a deletion's short grace period loses is its doing; how the pod used its time is not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drill.load.ledger import Kind, Reason
from drill.record import Event, PodRecord, Timeline
from drill.result import lanes
from drill.result.analysis import faults_of_stops
from drill.result.lanes import Lane
from drill.result.stop import PodLog
from tests.drill.result.made import BUDGETS, LANE, POD, Loss, hook_that_ended_with

#: Deleted at 10 s with 3 s, signalled when they were over, served on for half a second.
SHORT = replace(
    LANE,
    pod=replace(POD, grace=3.0, exit_code=1),
    grace_ends_at=13.0,
    short_grace=3.0,
    closed_at=13.5,
    gone_at=14.0,
    report={"cut": ["GET /slow", "task digest"], "decided_by": "hurried"},
)
IN_TIME = replace(SHORT, closed_at=12.0)
KILLED = replace(SHORT, killed_at=15.0, closed_at=15.0, gone_at=15.0, report=None)

LOSSES: dict[str, tuple[Loss, bool]] = {
    "came-when-it-had-ended": (Loss(lane=SHORT), True),
    "too-slow-for-it": (Loss(Reason.STATUS, "503", 13.5, 11.0, Kind.SLOW, SHORT), True),
    "job-too-slow-for-it": (Loss(Reason.UNDONE, "", 14.0, 13.0, Kind.JOB, SHORT), True),
    "stream-that-came-too-late": (Loss(at=15.0, kind=Kind.SSE, lane=SHORT), True),
    "stream-that-was-not-ended": (Loss(Reason.STREAM, "", 13.5, 2.0, Kind.SSE, SHORT), False),
    "before-it-was-over": (Loss(Reason.STATUS, "503", 12.0, 11.9, lane=SHORT), False),
    "closed-sooner-by-itself": (Loss(at=13.2, lane=IN_TIME), False),
    "killed": (Loss(Reason.RESET, at=15.1, lane=KILLED), False),
    "with-its-own-grace-period": (Loss(at=45.0), False),
}


@pytest.mark.parametrize("name", LOSSES)
def test_what_a_short_grace_period_loses(name: str) -> None:
    loss, out_of_time = LOSSES[name]
    assert loss.case.out_of_time is out_of_time


def test_it_is_told_without_blaming_a_setting() -> None:
    assert Loss(lane=SHORT, excused=True).sentence == (
        "refused by pod b, 2.3 s after its listener closed, endpoint still published: its "
        "deletion's grace period of 3 s was over; no setting could change that"
    )


def test_a_pod_that_ends_by_itself_has_stopped_well_whatever_it_had_to_cut() -> None:
    cut_off = replace(hook_that_ended_with(137, signalled_at=13.0).pod, grace=3.0)
    assert list(faults_of_stops(Loss(lane=replace(SHORT, pod=cut_off)).view)) == []


def test_a_pod_that_has_to_be_killed_is_named() -> None:
    assert list(faults_of_stops(Loss(lane=KILLED).view)) == [
        "b: did not exit within the 3 s of its deletion plus 2 s after SIGTERM: "
        "the end of its log shows what was stuck"
    ]


def lane_of(grace: float | None, code: int, gone: float) -> Lane:
    """A pod on a cluster, where signals cannot be seen."""
    pod = PodRecord("b", 1, "node-1", "", Path("b.log"), exit_code=code, grace=grace)
    timeline = Timeline()
    happened = ((1.0, "started"), (2.0, "ready"), (10.0, "deleted"), (gone, "exited"))
    timeline.events = [Event(at, what, "b") for at, what in happened]
    ledger = SimpleNamespace(samples=())
    rehearsal: Any = SimpleNamespace(changes=(), pods=[pod], timeline=timeline, ledger=ledger)
    return lanes.build(rehearsal, {"b": PodLog()}, BUDGETS, end=60.0)[0]


def test_the_lane_ends_where_the_deletions_grace_period_does() -> None:
    lane = lane_of(3.0, code=0, gone=13.6)
    assert (lane.grace_ends_at, lane.short_grace, lane.killed_at) == (13.0, 3.0, None)
    for own in (None, BUDGETS.grace):
        lane = lane_of(own, code=0, gone=13.6)
        assert (lane.grace_ends_at, lane.short_grace) == (10.0 + BUDGETS.grace, None)


def test_a_kill_that_could_not_be_seen_is_told_by_its_exit_code_and_date() -> None:
    assert lane_of(3.0, code=137, gone=15.0).killed_at == 15.0
    assert lane_of(None, code=137, gone=15.0).killed_at is None, "somebody else killed it"
