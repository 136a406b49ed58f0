"""Singletons run in one pod at a time, whatever happens to the pods and to the API."""

import signal
import time

import pytest

from tests.harness import eventually
from tests.leader_election.contenders import LEASE, LONG_LEASE, RENEW, RETRY, SLOP, Contenders
from tests.leader_election.lease_server import LeaseServer

pytestmark = pytest.mark.slow  # reading the client takes each process a second or two


# -- one of several -------------------------------------------------------------------------


def test_of_several_exactly_one_runs(pods: Contenders, server: LeaseServer) -> None:
    started = [pods.pod(f"pod-{number}") for number in range(3)]
    for service in started:
        service.ready()
    eventually(lambda: pods.notes(word="begin"), "one to run")
    leader = server.holder
    eventually(
        lambda: all(s.status()["leadership"]["leader"].startswith(leader) for s in started),
        "all to know the leader",
    )
    time.sleep(2 * RENEW)  # for as long as it takes to be wrong
    assert {note.pod for note in pods.notes()} == {leader}
    assert [s.status()["leadership"]["leads"] for s in started].count(True) == 1
    assert server.leases[("prod", "singletons")]["spec"]["leaseTransitions"] == 0


def test_the_change_of_leader_is_in_every_log(pods: Contenders, server: LeaseServer) -> None:
    first, second = pods.pair()
    held = server.holders[-1][1]
    for service in (first, second):
        line = service.logged("leader changed", leader=held)
        assert (line["previous"], line["transitions"]) == ("", 0)
    first.signal()
    pods.runs("second")
    line = second.logged("leader changed", leader=server.holders[-1][1])
    assert line["transitions"] == 1
    metrics = second.probe("metrics").body.decode()
    assert "\napp_leader 1\n" in metrics
    assert "\napp_leader_changes_total 3\n" in metrics, "to the first, to nobody, to this one"


def test_the_term_grows_though_the_lease_is_deleted(pods: Contenders, server: LeaseServer) -> None:
    """A store that refuses smaller terms than it has seen must take the next leader's."""
    first, second = pods.pair()
    terms = [first.status()["leadership"]["term"]]
    since = time.monotonic()
    eventually(lambda: "update" in server.verbs(since), "a renewal")
    assert first.status()["leadership"]["term"] == terms[0], "one term, however often renewed"
    first.kill()
    server.delete()
    pods.runs("second")
    assert server.leases[("prod", "singletons")]["spec"]["leaseTransitions"] <= 1
    terms.append(second.status()["leadership"]["term"])
    assert 0 < terms[0] < terms[1]


def test_rounds_come_again_and_again_and_may_fail(pods: Contenders) -> None:
    service = pods.pod("only", "failing").ready()
    eventually(lambda: len(pods.notes(word="begin")) > 3, "several rounds")
    assert service.status()["task_failures"]["failing"] >= 3
    assert service.status()["leadership"]["cut"] == {}


# -- hand-over at a stop --------------------------------------------------------------------


def test_the_next_takes_over_at_once_when_the_leader_drains(
    pods: Contenders, server: LeaseServer
) -> None:
    first, _ = pods.pair(**LONG_LEASE, APP_SHUTDOWN__FLOOR_SECONDS="6")
    first.signal()
    assert pods.runs("second") - first.signalled < 20
    assert first.process.poll() is None, "the leader hands over long before it has drained"
    assert first.ended() == 1, "its round was cut off"
    assert first.report["tasks_cut"] == ["steady"]
    assert [holder.partition("_")[0] for _, holder in server.holders] == ["first", "", "second"]
    pods.ran_alone()


def test_it_is_handed_over_with_the_duration_of_a_free_lease(
    pods: Contenders, server: LeaseServer
) -> None:
    service = pods.pod("only", "short")
    pods.runs("only")
    service.signal()
    assert service.ended() == 0
    ((_, lease),) = server.leases.items()
    assert lease["spec"]["holderIdentity"] == ""
    assert lease["spec"]["leaseDurationSeconds"] == 1


def test_a_round_that_is_nearly_done_is_let_finish(pods: Contenders) -> None:
    first, _ = pods.pair("short")
    eventually(lambda: pods.notes("first")[-1].word == "begin", "a round")
    first.signal()
    assert first.ended() == 0
    pods.runs("second")
    assert len(pods.notes("first", "begin")) == len(pods.notes("first", "end"))
    assert not first.lines("singleton cut off")
    pods.ran_alone()


def test_the_lease_is_kept_until_the_round_has_cleaned_up(pods: Contenders) -> None:
    first, _ = pods.pair("tidy")
    first.signal()
    pods.runs("second")
    assert first.ended() == 1
    line = first.logged("singleton cut off", task="tidy")
    assert "received SIGTERM" in line["reason"]
    assert line["cleaned_up"] is True
    assert pods.notes("first", "end")
    pods.ran_alone()


def test_work_that_ignores_its_cancellation_does_not_keep_the_lease(pods: Contenders) -> None:
    first, _ = pods.pair("deaf", **LONG_LEASE)
    first.signal()
    assert pods.runs("second") - first.signalled < 20
    assert first.logged("singleton cut off")["cleaned_up"] is False
    assert first.ended() == 1
    pods.ran_alone()


def test_a_draining_pod_does_not_take_the_lease(pods: Contenders, server: LeaseServer) -> None:
    first, second = pods.pair(APP_SHUTDOWN__FLOOR_SECONDS="4")
    second.drain()
    first.signal()
    first.ended()
    second.ended()
    assert not pods.notes("second")
    assert server.holders[-1][1] == ""


# -- without a hand-over --------------------------------------------------------------------


def test_the_next_takes_over_when_the_leader_was_killed(pods: Contenders) -> None:
    first, _ = pods.pair()
    first.kill()
    killed = time.monotonic()
    after = pods.runs("second") - killed
    assert LEASE - RETRY * 1.2 - SLOP < after < LEASE + RETRY + 10
    pods.ran_alone()


@pytest.mark.parametrize("work", ["steady", "tidy"])
def test_a_leader_that_was_stopped_makes_no_step_when_it_goes_on(
    pods: Contenders, work: str
) -> None:
    first, _ = pods.pair(work)
    first.signal(signal.SIGSTOP)
    began = pods.runs("second")
    time.sleep(1)
    first.signal(signal.SIGCONT)
    line = first.logged("singleton cut off", task=work)
    # The signal may have come while a renewal was under way.
    assert "not renewed in time" in line["reason"] or "came too late" in line["reason"]
    first.logged("leadership lost")
    time.sleep(1)
    assert max(n.at for n in pods.notes("first") if n.word != "end") < began
    assert pods.notes("first", "end"), "it may clean up"
    pods.ran_alone(after_the_time=("first",))
    first.signal()
    first.ended()


def test_deaf_work_is_not_stepped_after_a_stop_for_longer_than_it_takes_to_clean_up(
    pods: Contenders,
) -> None:
    first, _ = pods.pair("deaf")
    first.signal(signal.SIGSTOP)
    pods.runs("second")
    first.signal(signal.SIGCONT)
    went_on = time.monotonic()
    assert first.logged("singleton cut off")["cleaned_up"] is False
    assert max(note.at for note in pods.notes("first")) < went_on + 0.5 + 2 * SLOP


def test_a_leader_whose_loop_was_blocked_makes_no_step_when_it_goes_on(pods: Contenders) -> None:
    first, _ = pods.pair()
    first.connect().ask(f"/block?seconds={LEASE + 2}")
    began = pods.runs("second")
    first.logged("singleton cut off")
    assert max(note.at for note in pods.notes("first", "tick")) < began
    pods.ran_alone(after_the_time=("first",))
    assert first.get("/block?seconds=0").status == 200, "the service itself goes on"


def test_work_that_blocks_the_loop_beyond_the_lease_ends_the_process(pods: Contenders) -> None:
    first, _ = pods.pair("blocking")
    assert first.ended(LEASE + 5) == 1
    line = first.logged("singleton blocks the event loop beyond its time; ending the process")
    assert line["task"] == "blocking"
    assert "in blocking" in "".join(line["where"])
    pods.runs("second")
    lasts = max(note.at for note in pods.notes("first"))
    assert pods.notes("second")[0].at > lasts - 2 * SLOP


def test_a_short_stop_changes_nothing(pods: Contenders) -> None:
    first, second = pods.pair()
    first.signal(signal.SIGSTOP)
    time.sleep(1)
    first.signal(signal.SIGCONT)
    time.sleep(LEASE)
    assert first.status()["leadership"]["leads"] is True
    assert not first.lines("singleton cut off")
    assert not pods.notes("second")
    assert second.status()["leadership"]["leads"] is False
