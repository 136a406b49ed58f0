"""A pod leaves the registry before it stops, and serves until every reader knows."""

import time

import pytest

from tests.harness import HOST, Service, eventually
from tests.registry.conftest import Pod
from tests.registry.fake import STRATEGIES, Fake

DECIDED = "removed from the registry + readers"


def registered(pod: Pod, registry: Fake, name: str = "web-1", **settings: str) -> Service:
    service = pod(name, **settings).ready()
    eventually(lambda: (HOST, service.port) in registry.readers(), "the pod to be listed")
    service.logged("registered")
    return service


def removals(registry: Fake, since: float) -> list[float]:
    """When it was asked to remove the entry."""
    return [call.at for call in registry.acts("deregister", since)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_entry_is_removed_first_and_then_the_readers_get_their_time(
    registry: Fake, pod: Pod, strategy: str
) -> None:
    long = {"APP_REGISTRY__TTL_SECONDS": "60", "APP_REGISTRY__FAILURES": "100"}
    service = registered(pod, registry, APP_REGISTRY__STRATEGY=strategy, **long)
    service.drain()
    (first,) = eventually(lambda: removals(registry, service.signalled), "the removal")[:1]
    assert first - service.signalled < 0.9, "before the readers' second is over"
    assert registry.readers() == set()
    assert service.get("/hello").status == 200, "which a reader still sends"
    assert service.ended() == 0
    assert service.report["decided_by"] == DECIDED
    assert service.report["seconds"]["draining"] >= 1
    assert service.logged("removed from the registry")["entry"] == "web-1"
    assert len(removals(registry, service.signalled)) == 1
    told = [str(line.get("step") or line["event"]) for line in service.lines()]
    over = next(step for step in told if step.startswith("no new requests expected"))
    assert told.index("removed from the registry") < told.index(over)


def test_a_pod_that_was_never_registered_waits_for_nobody(registry: Fake, pod: Pod) -> None:
    registry.down()
    service = pod().ready()
    service.logged("registry failed; retrying")
    service.drain()
    assert service.ended() == 0
    assert service.report["decided_by"] != DECIDED
    assert service.lines("removed from the registry") == []


def test_a_removal_that_fails_is_tried_again(registry: Fake, pod: Pod) -> None:
    service = registered(pod, registry, APP_REGISTRY__TTL_SECONDS="60")
    registry.faults["deregister"] = 500
    service.drain()
    eventually(lambda: len(removals(registry, service.signalled)) > 1, "a second attempt")
    del registry.faults["deregister"]
    assert service.ended() == 0
    assert service.logged("removed from the registry")
    assert service.report["seconds"]["draining"] < 9, "the removal decides, not the limit of 10 s"
    assert registry.readers() == set()


@pytest.mark.parametrize("fault", [500, "hang"])
def test_an_entry_that_cannot_be_removed_is_reported_and_outlived(
    registry: Fake, pod: Pod, fault: int | str
) -> None:
    service = registered(pod, registry)
    registry.faults["deregister"] = fault
    service.drain()
    line = service.logged(
        "not removed from the registry; its readers send requests until the entry expires"
    )
    assert line["level"] == "error"
    assert "\napp_registry_given_up 1\n" in service.probe("metrics").body.decode()
    assert service.status()["registration"]["given_up"]
    eventually(lambda: registry.readers() == set(), "the entry to expire")
    gone = time.monotonic()
    assert service.get("/hello").status == 200
    assert service.ended() == 0
    # A second, less that by which etcd removes an expired key late.
    assert time.monotonic() > gone + 0.3, "the readers get their time from then on"
    assert service.report["decided_by"] == DECIDED


def test_a_registration_under_way_does_not_survive_the_stop(registry: Fake, pod: Pod) -> None:
    """The registry may handle it after the removal."""
    registry.faults["register"] = 0.6
    service = pod().ready()
    eventually(lambda: registry.acts("register"), "a registration under way")
    service.drain()
    assert service.ended() == 0
    last = registry.acts("register")[-1].at + 0.6
    assert max(removals(registry, 0)) > last, "it is removed after it was handled"
    assert registry.readers() == set()


def test_a_second_signal_does_not_wait_for_the_registry(registry: Fake, pod: Pod) -> None:
    service = registered(
        pod, registry, APP_REGISTRY__READERS_SECONDS="8", APP_REGISTRY__TIMEOUT_SECONDS="8"
    )
    registry.faults["deregister"] = "hang"
    service.drain()
    eventually(lambda: removals(registry, service.signalled), "the removal")
    service.signal()
    assert service.seconds() < 5


def test_a_stop_while_it_starts(registry: Fake, pod: Pod) -> None:
    service = pod(FAILING="1")
    service.logged("component open")
    service.drain()
    assert service.ended() == 0
    assert registry.acts("register") == []
