"""The rule of the drain, as properties that hold for all times and all traffic."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle.drain import DrainPolicy, Evidence, Rotation

seconds = st.floats(0, 100)
dates = st.floats(900, 1200)
policies = st.builds(
    lambda floor, slack, quiet, more, fallback: DrainPolicy(
        floor, slack, quiet, floor + more, fallback
    ),
    seconds,
    seconds,
    seconds,
    seconds,
    seconds,
)
evidences = st.builds(
    Evidence,
    began=st.just(1000.0),
    last_request=st.one_of(st.just(-math.inf), dates),
    rotation=st.builds(
        Rotation,
        gone=st.one_of(st.none(), st.just(math.inf), dates),
        last_seen=st.one_of(st.just(-math.inf), dates),
        heard_by=st.one_of(st.just(math.inf), dates),
        own_answer=st.one_of(st.just(-math.inf), dates),
        asking_until=st.one_of(st.just(-math.inf), dates),
    ),
    in_flight=st.integers(0, 3),
)
times = st.floats(1000, 1300)


def stops(policy: DrainPolicy, now: float, evidence: Evidence) -> bool:
    return policy.decide(now, evidence).stop_listening


@given(policies, times, evidences)
def test_never_before_the_floor(policy: DrainPolicy, now: float, evidence: Evidence) -> None:
    if now < evidence.began + policy.floor:
        assert not stops(policy, now, evidence)
        assert not policy.decide(now, evidence).traffic_over


@given(policies, times, evidences)
def test_always_at_the_limit(policy: DrainPolicy, now: float, evidence: Evidence) -> None:
    if now >= evidence.began + policy.limit:
        assert stops(policy, now, evidence)


@given(policies, times, evidences)
def test_never_while_arrivals_are_young(
    policy: DrainPolicy, now: float, evidence: Evidence
) -> None:
    below_limit = now < evidence.began + policy.limit
    if below_limit and now < evidence.last_request + policy.quiet:
        assert not stops(policy, now, evidence)


@given(policies, times, evidences)
def test_never_while_connections_may_still_be_sent_here(
    policy: DrainPolicy, now: float, evidence: Evidence
) -> None:
    rotation = evidence.rotation
    if now >= evidence.began + policy.limit:
        return
    if rotation.gone is None:
        if now < max(evidence.began, rotation.last_seen) + policy.fallback:
            assert not stops(policy, now, evidence)
    else:
        gone = rotation.gone + policy.slack
        overdue = rotation.heard_by < evidence.began + policy.limit
        if rotation.gone == math.inf and overdue:  # counts as not watched once the API is overdue
            last_seen = max(evidence.began, rotation.last_seen)
            gone = max(last_seen + policy.fallback, rotation.heard_by)
        known = max(gone, rotation.own_answer + policy.slack)
        if now < max(known, rotation.asking_until):
            assert not stops(policy, now, evidence)


@given(policies, evidences, seconds)
def test_the_fallback_counts_only_without_the_endpoint(
    policy: DrainPolicy, evidence: Evidence, more: float
) -> None:
    longer = replace(policy, fallback=policy.fallback + more)
    if evidence.rotation.gone not in (None, math.inf):
        assert longer.traffic_ends(evidence) == policy.traffic_ends(evidence)
    unwatched = replace(evidence, rotation=Rotation())
    known = replace(evidence, rotation=Rotation(gone=math.inf))
    assert policy.traffic_ends(known) == evidence.began + policy.limit
    assert policy.traffic_ends(unwatched) <= policy.traffic_ends(known)


@given(policies, evidences)
def test_an_api_that_is_overdue_does_not_hold_it_up(
    policy: DrainPolicy, evidence: Evidence
) -> None:
    overdue = replace(evidence.rotation, gone=math.inf, heard_by=1000.0, last_seen=-math.inf)
    unwatched = replace(overdue, gone=None)
    late = policy.traffic_ends(replace(evidence, rotation=overdue))
    least = max(overdue.own_answer + policy.slack, overdue.asking_until)
    assert late <= max(least, policy.traffic_ends(replace(evidence, rotation=unwatched)))


@pytest.mark.parametrize(
    ("decided_by", "evidence"),
    [
        ("fallback", Evidence(0.0, rotation=Rotation(math.inf, heard_by=8.0))),
        ("floor", Evidence(0.0, rotation=Rotation(gone=-9.0))),
        ("fallback", Evidence(0.0)),
        ("fallback", Evidence(0.0, rotation=Rotation(None, last_seen=3.0), last_request=6.0)),
        ("endpoint gone + slack", Evidence(0.0, rotation=Rotation(1.0))),
        ("endpoint gone + slack", Evidence(0.0, rotation=Rotation(3.0), last_request=3.5)),
        ("last answer to itself + slack", Evidence(0.0, rotation=Rotation(1.0, own_answer=2.0))),
        ("who answers at the Service", Evidence(0.0, rotation=Rotation(1.0, asking_until=4.0))),
        ("last new request + quiet", Evidence(0.0, rotation=Rotation(1.0), last_request=3.0)),
    ],
)
def test_it_names_what_decided(decided_by: str, evidence: Evidence) -> None:
    policy = DrainPolicy(floor=1, slack=2, quiet=1, limit=100, fallback=5)
    assert policy.decide(99, evidence).decided_by == decided_by


def test_it_names_what_the_limit_cut_short() -> None:
    verdict = DrainPolicy(limit=10).decide(10, Evidence(0.0, rotation=Rotation(gone=math.inf)))
    assert verdict.decided_by == "limit, before endpoint gone + slack"


@given(policies, times, evidences)
def test_never_with_requests_in_flight_below_the_limit(
    policy: DrainPolicy, now: float, evidence: Evidence
) -> None:
    if evidence.in_flight and now < evidence.began + policy.limit:
        assert not stops(policy, now, evidence)


@given(policies, evidences)
def test_always_when_idle_and_quiet(policy: DrainPolicy, evidence: Evidence) -> None:
    idle = replace(evidence, in_flight=0)
    assert stops(policy, policy.traffic_ends(idle), idle)


@given(policies, times, evidences, seconds)
def test_later_is_never_less(
    policy: DrainPolicy, now: float, evidence: Evidence, more: float
) -> None:
    assert stops(policy, now, evidence) <= stops(policy, now + more, evidence)


@given(policies, times, evidences, seconds)
def test_a_later_arrival_never_ends_it_sooner(
    policy: DrainPolicy, now: float, evidence: Evidence, more: float
) -> None:
    later = replace(evidence, last_request=evidence.last_request + more)
    assert stops(policy, now, later) <= stops(policy, now, evidence)
    assert policy.traffic_ends(later) >= policy.traffic_ends(evidence)


@given(policies, times, evidences)
def test_more_in_flight_never_ends_it_sooner(
    policy: DrainPolicy, now: float, evidence: Evidence
) -> None:
    more = replace(evidence, in_flight=evidence.in_flight + 1)
    assert stops(policy, now, more) <= stops(policy, now, evidence)


@given(policies, times, evidences, seconds)
def test_larger_times_never_end_it_sooner(
    policy: DrainPolicy, now: float, evidence: Evidence, more: float
) -> None:
    for longer in (
        replace(policy, quiet=policy.quiet + more),
        replace(policy, slack=policy.slack + more),
        replace(policy, fallback=policy.fallback + more),
        replace(policy, floor=policy.floor + more, limit=policy.limit + more),
    ):
        assert stops(longer, now, evidence) <= stops(policy, now, evidence)


@given(policies, times, evidences)
def test_the_next_date_is_ahead_and_brings_a_change(
    policy: DrainPolicy, now: float, evidence: Evidence
) -> None:
    verdict = policy.decide(now, evidence)
    assert verdict.waiting_for
    if verdict.stop_listening:
        assert verdict.traffic_over
    else:
        assert now < verdict.ask_again_at <= evidence.began + policy.limit
        assert policy.decide(verdict.ask_again_at, evidence) != verdict
