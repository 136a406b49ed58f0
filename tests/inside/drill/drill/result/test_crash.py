"""What a killed container loses is its kill's doing, whether or not the client knows its pod."""

from pathlib import Path

import pytest

from drill.load.ledger import Kind, Lost, Reason, Sample
from drill.record import Event, PodRecord, Timeline
from drill.scenarios.removals import Crash

POD = PodRecord("b", 1, "node-1", "127.0.0.12", Path("b.log"))


def excused(ended: float, pod: str, *, alone: bool = False) -> bool:
    timeline = Timeline()
    events = ((10.0, "SIGKILL"), (10.5, "exited"), (12.0, "ready"))
    timeline.events = [Event(at, what, "b") for at, what in events]
    if not alone:
        timeline.events.append(Event(1.0, "ready", "a"))
    lost = Lost(Reason.CLOSED, "on a kept connection")
    return Crash().excuses(Sample(Kind.KEPT, pod, ended - 0.1, ended, lost), POD, timeline)


@pytest.mark.parametrize(
    ("ended", "by_name", "by_time"),
    [
        (7.0, False, False),
        (8.6, False, True),  # clocks of nodes differ
        (10.1, True, True),
        (14.9, True, True),  # kube-proxy has yet to hear that it is back
        (15.1, True, False),
    ],
)
def test_what_is_lost_around_a_kill_is_its_doing(
    ended: float, by_name: bool, by_time: bool
) -> None:
    assert excused(ended, "b") is by_name
    assert excused(ended, "") is by_time


def test_a_second_pod_could_have_served_what_a_lone_one_lost() -> None:
    assert not excused(10.1, "", alone=True)


@pytest.mark.parametrize(("accepted", "is_excused"), [(9.0, True), (-1.0, False), (13.0, False)])
def test_a_job_that_was_in_hand_is_lost_with_its_pod(accepted: float, is_excused: bool) -> None:
    """Nobody knows until the end that it was never done, nor by which pod."""
    timeline = Timeline()
    events = ((1.0, "ready", "a"), (10.0, "SIGKILL", "b"), (12.0, "ready", "b"))
    timeline.events = [Event(at, what, pod) for at, what, pod in events]
    sample = Sample(Kind.JOB, "", accepted, 20.0, Lost(Reason.UNDONE))
    assert Crash().excuses(sample, POD, timeline) is is_excused
