"""The table of endpoints: who gets clients, and since when they know."""

from dataclasses import replace

from drill.endpoints import Endpoint, EndpointTable
from tests.drill.support import Clock

A = Endpoint("a", "127.0.0.11", 8080, serving=True)
B = Endpoint("b", "127.0.0.12", 8080, serving=True)


def names(table: EndpointTable) -> list[str]:
    return [endpoint.pod for endpoint in table.seen()]


def test_clients_see_a_change_when_it_has_propagated(clock: Clock) -> None:
    table = EndpointTable(2.0, clock)
    table.publish(A)
    clock.now = 1.9
    assert names(table) == []
    clock.now = 2.0
    assert names(table) == ["a"]


def test_a_pod_that_is_not_ready_gets_no_clients(clock: Clock) -> None:
    table = EndpointTable(0.0, clock)
    table.publish(replace(A, serving=False))
    table.publish(B)
    assert names(table) == ["b"]
    table.publish(A)
    assert names(table) == ["a", "b"]


def test_a_deleted_pod_is_picked_until_the_deletion_has_propagated(clock: Clock) -> None:
    table = EndpointTable(1.0, clock)
    table.publish(A)
    table.publish(B)
    clock.now = 5.0
    table.publish(replace(A, terminating=True))
    clock.now = 5.9
    assert names(table) == ["a", "b"]
    clock.now = 6.0
    assert names(table) == ["b"]


def test_changes_reach_the_clients_in_order_and_together_when_they_look_late(clock: Clock) -> None:
    table = EndpointTable(1.0, clock)
    table.publish(A)
    table.publish(B)
    table.remove("a")
    clock.now = 10.0
    assert names(table) == ["b"]


def test_without_a_ready_pod_clients_get_those_that_still_serve(clock: Clock) -> None:
    table = EndpointTable(0.0, clock)
    table.publish(replace(A, terminating=True))
    table.publish(replace(B, serving=False, terminating=True))
    assert names(table) == ["a"]


def test_the_table_remembers_each_change_once_with_its_times(clock: Clock) -> None:
    table = EndpointTable(2.0, clock)
    table.publish(A)
    table.publish(A)
    clock.now = 3.0
    table.remove("a")
    table.remove("a")
    assert [(c.at, c.seen_at, c.endpoint) for c in table.changes] == [(0, 2, A), (3, 5, None)]


def test_the_table_settles_with_the_last_change_of_who_is_ready(clock: Clock) -> None:
    table = EndpointTable(2.0, clock)
    table.publish(A)
    clock.now = 3.0
    table.publish(replace(A, terminating=True))
    clock.now = 9.0
    table.remove("a")
    assert table.settled_at == 5.0
