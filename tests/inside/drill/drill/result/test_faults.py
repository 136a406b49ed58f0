"""Each rule for a stop that was bad although nothing may have been lost."""

from dataclasses import replace

import pytest

from drill.record import Event
from drill.result.analysis import faults_of_stops
from drill.result.lanes import Lane
from tests.drill.result.made import KILLED, LANE, POD, Loss, hook_that_ended_with

STOPS: dict[str, tuple[Lane, str]] = {
    "still-ready": (
        replace(LANE, events=(Event(11.5, "still ready", "b", ""),)),
        "b: its readiness probe still succeeded after it was told to stop: readiness must "
        "become false first, because load balancers and evictions depend on it (probe /readyz)",
    ),
    "restarted": (
        replace(LANE, events=(Event(5.0, "restarting", "b", "liveness failed"),)),
        "b: its container was restarted, liveness failed: see its log and its liveness probe",
    ),
    "no-report": (
        replace(LANE, report=None),
        'b: its log does not end with a report of the stop (event "stopped")',
    ),
    "exit-code": (
        replace(LANE, pod=replace(POD, exit_code=3)),
        "b: it exited with 3: see its log",
    ),
    "hook-outlived-the-grace": (
        replace(hook_that_ended_with(137, signalled_at=40.0), report=LANE.report),
        "b: terminationGracePeriodSeconds 30 ended its preStop hook before the drain was "
        "complete: let the chart set the grace period",
    ),
    "hook-killed": (
        replace(hook_that_ended_with(137), report=LANE.report),
        "b: its preStop hook was killed: see its output",
    ),
    "something-else-cut": (
        replace(LANE, report={"cut": ["task digest"]}),
        "b: cut off at the stop: task digest",
    ),
    "killed": (
        replace(KILLED, report=None),
        "b: did not exit within terminationGracePeriodSeconds 30: "
        "the end of its log shows what was stuck",
    ),
}


@pytest.mark.parametrize("name", STOPS)
def test_a_bad_stop_is_named(name: str) -> None:
    lane, told = STOPS[name]
    assert list(faults_of_stops(Loss(lane=lane).view)) == [told]


def test_a_good_stop_is_no_fault() -> None:
    assert list(faults_of_stops(Loss().view)) == []
