"""Where a pod stands among the endpoints of its Services, case by case."""

from typing import Any

import pytest

from app.lifecycle.kubernetes.endpoint import EndpointState, OwnEndpoint
from app.lifecycle.kubernetes.identity import Identity
from tests.kube import endpoint, endpoint_slice

ME = Identity(pod="web-1", namespace="prod", uid="u1", addresses=("10.1.0.7", "fd00::7"))
IN, OUT, UNKNOWN = EndpointState.IN_ROTATION, EndpointState.WITHDRAWN, EndpointState.UNKNOWN


def state(*slices: Any, services: tuple[str, ...] = ("web",), me: Identity = ME) -> EndpointState:
    own = OwnEndpoint(me, services)
    own.replace(slices)
    return own.state()


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"ready": True, "serving": True, "terminating": False}, IN),
        ({"ready": False, "serving": False, "terminating": False}, OUT),
        ({"ready": False, "serving": True, "terminating": True}, OUT),
        ({"ready": False, "serving": False, "terminating": True}, OUT),
        ({}, IN),  # what is not said counts as ready
        ({"ready": None, "terminating": None}, IN),
        ({"serving": False}, IN),
        ({"ready": True, "serving": False, "terminating": True}, OUT),  # publishNotReadyAddresses
    ],
)
def test_conditions(conditions: Any, expected: EndpointState) -> None:
    assert state(endpoint_slice(endpoint("web-1", **conditions))) is expected


def test_no_conditions_at_all() -> None:
    entry = {key: value for key, value in endpoint("web-1").items() if key != "conditions"}
    assert state(endpoint_slice(entry)) is IN


@pytest.mark.parametrize(
    ("entry", "me", "own"),
    [
        (endpoint("web-1"), ME, True),
        (endpoint("web-1", uid="u1"), ME, True),
        (endpoint("web-1", uid="u2"), ME, False),  # the next pod of a StatefulSet
        (endpoint("web-1", uid="u2"), Identity(pod="web-1"), True),
        (endpoint("web-2"), ME, False),
        (endpoint("web-2", address="10.1.0.7"), ME, False),  # both in the host's network
        (endpoint("", address="10.1.0.7"), ME, True),
        (endpoint("", address="fd00::7"), ME, True),
        (endpoint("", address="10.1.0.8"), ME, False),
        (endpoint("web-1", address="10.1.0.7"), Identity(addresses=("10.1.0.7",)), True),
        ({**endpoint("web-1"), "targetRef": {"kind": "Node", "name": "web-1"}}, ME, False),
    ],
)
def test_which_entry_is_its_own(entry: Any, me: Identity, own: bool) -> None:
    assert state(endpoint_slice(entry), me=me) is (IN if own else UNKNOWN)


def test_an_endpoint_that_was_never_there_proves_nothing() -> None:
    assert state() is UNKNOWN
    assert state(endpoint_slice(endpoint("web-2"))) is UNKNOWN
    assert state({**endpoint_slice(), "endpoints": None}) is UNKNOWN


def test_one_that_was_there_and_is_missing_is_withdrawn() -> None:
    own = OwnEndpoint(ME, ["web"])
    own.replace([endpoint_slice(endpoint("web-1"))])
    own.apply("MODIFIED", endpoint_slice(endpoint("web-2")))
    assert own.state() is OUT
    own.apply("MODIFIED", endpoint_slice(endpoint("web-1")))
    assert own.state() is IN
    own.apply("DELETED", endpoint_slice(endpoint("web-1")))
    assert own.state() is OUT


def test_every_slice_counts() -> None:
    """Dual stack, and an endpoint that the controller moves from one slice to another."""
    four = endpoint_slice(endpoint("web-1"), name="web-4")
    six = endpoint_slice(endpoint("web-1", address="fd00::7"), name="web-6", kind="IPv6")
    gone = endpoint_slice(endpoint("web-1", ready=False), name="web-4")
    own = OwnEndpoint(ME, ["web"])
    own.replace([four, six])
    own.apply("MODIFIED", gone)
    assert own.state() is IN
    own.apply("MODIFIED", endpoint_slice(endpoint("web-1", ready=False), name="web-6", kind="IPv6"))
    assert own.state() is OUT


def test_every_service_counts() -> None:
    own = OwnEndpoint(ME, ["web", "admin"])
    web, admin = (endpoint_slice(endpoint("web-1"), service=name) for name in ("web", "admin"))
    own.replace([web, admin])
    own.apply("MODIFIED", endpoint_slice(service="web"))
    assert own.state() is IN
    own.apply("MODIFIED", endpoint_slice(service="admin"))
    assert own.state() is OUT


def test_one_service_that_never_had_it_leaves_all_unknown() -> None:
    own = OwnEndpoint(ME, ["web", "typo"])
    own.replace([endpoint_slice(endpoint("web-1"))])
    assert own.state() is IN
    own.apply("MODIFIED", endpoint_slice(endpoint("web-1", ready=False)))
    assert own.state() is UNKNOWN
    assert own.unseen() == ["typo"]


def test_slices_of_other_services_are_not_looked_at() -> None:
    other = endpoint_slice(endpoint("web-1"), service="other")
    assert state(other) is UNKNOWN
    own = OwnEndpoint(ME, ["web"])
    own.replace([endpoint_slice(endpoint("web-1"))])
    own.apply("MODIFIED", {**other, "metadata": {**other["metadata"], "name": "web-abcde"}})
    assert own.state() is OUT, "the slice is another Service's now"


def test_a_list_that_fails_half_way_changes_nothing() -> None:
    own = OwnEndpoint(ME, ["web"])
    own.replace([endpoint_slice(endpoint("web-1"))])
    with pytest.raises((KeyError, TypeError, AttributeError)):
        own.replace([endpoint_slice(endpoint("web-1", ready=False)), {"metadata": None}])
    assert own.state() is IN


def test_how_many_pods_share_the_connections() -> None:
    own = OwnEndpoint(ME, ["web", "admin"])
    assert own.pods("web") == 1
    entries = [endpoint(f"web-{number}") for number in range(1, 5)]
    own.replace([endpoint_slice(*entries), endpoint_slice(*entries, name="web-6", kind="IPv6")])
    assert own.pods("web") == 4
    own.replace([endpoint_slice(endpoint("web-1", ready=False), endpoint("web-2"))])
    assert own.pods("web") == 4, "a proxy may be as late as that"
    assert own.pods("admin") == 1
