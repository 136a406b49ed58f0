"""The rule of the drain, as properties that hold for all times and all traffic."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.lifecycle.drain import DrainPolicy, Evidence

seconds = st.floats(0, 100)
policies = st.builds(
    lambda floor, slack, quiet, more: DrainPolicy(floor, slack, quiet, floor + more),
    seconds,
    seconds,
    seconds,
    seconds,
)
evidences = st.builds(
    Evidence,
    began=st.just(1000.0),
    last_arrival=st.one_of(st.just(-math.inf), st.floats(900, 1200)),
    endpoint_gone=st.one_of(st.none(), st.floats(900, 1200)),
    in_flight=st.integers(0, 3),
)
times = st.floats(1000, 1300)


def stops(policy: DrainPolicy, now: float, evidence: Evidence) -> bool:
    return policy.decide(now, evidence).stop_listening


@given(policies, times, evidences)
def test_never_before_the_floor(policy: DrainPolicy, now: float, evidence: Evidence) -> None:
    if now < evidence.began + policy.floor:
        assert not stops(policy, now, evidence)
        assert not policy.decide(now, evidence).arrivals_over


@given(policies, times, evidences)
def test_always_at_the_limit(policy: DrainPolicy, now: float, evidence: Evidence) -> None:
    if now >= evidence.began + policy.limit:
        assert stops(policy, now, evidence)


@given(policies, times, evidences)
def test_never_while_arrivals_are_young(
    policy: DrainPolicy, now: float, evidence: Evidence
) -> None:
    below_limit = now < evidence.began + policy.limit
    if below_limit and now < evidence.last_arrival + policy.quiet:
        assert not stops(policy, now, evidence)
    if below_limit and now < (evidence.endpoint_gone or -math.inf) + policy.slack:
        assert not stops(policy, now, evidence)


@given(policies, times, evidences)
def test_never_with_requests_in_flight_below_the_limit(
    policy: DrainPolicy, now: float, evidence: Evidence
) -> None:
    if evidence.in_flight and now < evidence.began + policy.limit:
        assert not stops(policy, now, evidence)


@given(policies, evidences)
def test_always_when_idle_and_quiet(policy: DrainPolicy, evidence: Evidence) -> None:
    idle = replace(evidence, in_flight=0)
    assert stops(policy, policy.arrivals_end(idle), idle)


@given(policies, times, evidences, seconds)
def test_later_is_never_less(
    policy: DrainPolicy, now: float, evidence: Evidence, more: float
) -> None:
    assert stops(policy, now, evidence) <= stops(policy, now + more, evidence)


@given(policies, times, evidences, seconds)
def test_a_later_arrival_never_ends_it_sooner(
    policy: DrainPolicy, now: float, evidence: Evidence, more: float
) -> None:
    later = replace(evidence, last_arrival=evidence.last_arrival + more)
    assert stops(policy, now, later) <= stops(policy, now, evidence)
    assert policy.arrivals_end(later) >= policy.arrivals_end(evidence)


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
        assert verdict.arrivals_over
    else:
        assert now < verdict.ask_again_at <= evidence.began + policy.limit
        assert policy.decide(verdict.ask_again_at, evidence) != verdict
