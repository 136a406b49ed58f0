"""The table of endpoints: who gets clients, and since when they know."""

from dataclasses import replace
from itertools import pairwise

from drill.local.endpoints import EndpointTable
from drill.record import Change, Endpoint
from tests.drill.support import Clock

A = Endpoint("a", "127.0.0.11", 8080, serving=True)
B = Endpoint("b", "127.0.0.12", 8080, serving=True)


def names(table: EndpointTable) -> list[str]:
    return [endpoint.pod for endpoint in table.seen()]


def test_clients_see_a_change_when_it_has_propagated(clock: Clock) -> None:
    table = EndpointTable((2.0, 2.0), clock)
    table.publish(A)
    clock.now = 1.9
    assert names(table) == []
    clock.now = 2.0
    assert names(table) == ["a"]


def test_a_pod_that_is_not_ready_gets_no_clients(clock: Clock) -> None:
    table = EndpointTable((0.0, 0.0), clock)
    table.publish(replace(A, serving=False))
    table.publish(B)
    assert names(table) == ["b"]
    table.publish(A)
    assert names(table) == ["a", "b"]


def test_a_deleted_pod_is_picked_until_the_deletion_has_propagated(clock: Clock) -> None:
    table = EndpointTable((1.0, 1.0), clock)
    table.publish(A)
    table.publish(B)
    clock.now = 5.0
    table.publish(replace(A, terminating=True))
    clock.now = 5.9
    assert names(table) == ["a", "b"]
    clock.now = 6.0
    assert names(table) == ["b"]


def test_changes_reach_the_clients_in_order_and_together_when_they_look_late(clock: Clock) -> None:
    table = EndpointTable((1.0, 1.0), clock)
    table.publish(A)
    table.publish(B)
    table.remove("a")
    clock.now = 10.0
    assert names(table) == ["b"]


def test_without_a_ready_pod_clients_get_those_that_still_serve(clock: Clock) -> None:
    table = EndpointTable((0.0, 0.0), clock)
    table.publish(replace(A, terminating=True))
    table.publish(replace(B, serving=False, terminating=True))
    assert names(table) == ["a"]


def test_the_table_remembers_each_change_once_with_its_times(clock: Clock) -> None:
    table = EndpointTable((2.0, 2.0), clock)
    table.publish(A)
    table.publish(A)
    clock.now = 3.0
    table.remove("a")
    table.remove("a")
    assert [(c.at, c.seen_at, c.endpoint) for c in table.changes] == [(0, 2, A), (3, 5, None)]


def test_the_table_settles_with_the_last_change_of_who_is_ready(clock: Clock) -> None:
    table = EndpointTable((2.0, 2.0), clock)
    table.publish(A)
    clock.now = 3.0
    table.publish(replace(A, terminating=True))
    clock.now = 9.0
    table.remove("a")
    assert table.settled_at == 5.0


def test_a_range_draws_a_delay_for_each_change_and_never_reorders(clock: Clock) -> None:
    table = EndpointTable((1.0, 3.0), clock)
    for number in range(200):
        clock.now = number * 0.5
        table.publish(replace(A, port=number + 1))
    seen = [change.seen_at or 0.0 for change in table.changes]
    delays = [change.seen_at - change.at for change in table.changes if change.seen_at]
    assert all(a <= b for a, b in pairwise(seen))
    assert min(delays) >= 1.0
    assert max(delays) <= 3.0
    assert max(delays) - min(delays) > 0.5


def test_subscribers_get_each_change_when_it_is_made_until_they_leave(clock: Clock) -> None:
    table = EndpointTable((9.0, 9.0), clock)
    got: list[Change] = []
    leave = table.subscribe(got.append)
    table.publish(A)
    table.remove("a")
    leave()
    table.publish(A)
    assert got == table.changes[:2]
    assert table.current == {"a": A}


def test_a_range_is_kept_and_a_late_change_holds_up_those_after_it(clock: Clock) -> None:
    table = EndpointTable((1.0, 3.0), clock)
    for number in range(50):
        clock.now = number / 10
        table.publish(replace(A, host=f"127.0.0.{number}"))
    seen = [change.seen_at for change in table.changes if change.seen_at is not None]
    assert seen == sorted(seen)
    late = [change.seen_at - change.at for change in table.changes if change.seen_at is not None]
    assert all(1.0 <= seconds <= 3.0 for seconds in late)
    assert max(late) - min(late) > 0.2


def test_a_subscriber_hears_of_every_change_at_once(clock: Clock) -> None:
    table = EndpointTable((2.0, 2.0), clock)
    heard: list[str] = []
    end = table.subscribe(lambda change: heard.append(change.pod))
    table.publish(A)
    end()
    table.publish(B)
    assert heard == ["a"]
