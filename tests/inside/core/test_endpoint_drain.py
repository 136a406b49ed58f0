"""A service that drains while an API server tells it of its endpoint, well or badly."""

import signal
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.harness import Service, eventually
from tests.kube import KubeApi, endpoint, endpoint_slice, serving

#: Seconds; what nobody waits for is far from all that somebody does.
SLACK, FALLBACK, LIMIT = 0.3, 0.8, 12.0
#: How late a busy machine may be.
LATE = 8
OTHERS = (endpoint("web-2"), endpoint("web-3"))


@pytest.fixture
def api() -> Iterator[KubeApi]:
    with serving() as api:
        api.put(endpoint_slice(endpoint("web-1"), *OTHERS))
        yield api


@pytest.fixture
def pod(serve: Start, api: KubeApi) -> Start:
    """Start a pod that is ready: ``pod(APP_NAME="value")``."""

    def start(app: str = "", **settings: str) -> Service:
        known = {
            "POD_NAME": "web-1",
            "POD_NAMESPACE": "prod",
            "APP_KUBERNETES__SERVICES": "web",
            "APP_KUBERNETES__API": api.url,
            "APP_SHUTDOWN__SLACK_SECONDS": str(SLACK),
            "APP_SHUTDOWN__FALLBACK_SECONDS": str(FALLBACK),
            "APP_SHUTDOWN__LIMIT_SECONDS": str(LIMIT),
        }
        return serve(app, **{**known, **settings})

    return start


def withdraw(api: KubeApi) -> float:
    """As the controller does when the pod is deleted; the time of it."""
    api.put(endpoint_slice(endpoint("web-1", ready=False, serving=True, terminating=True), *OTHERS))
    return time.monotonic()


def watched(api: KubeApi, watches: int = 1) -> None:
    eventually(
        lambda: [what for what, _ in api.asked].count("watch") >= watches, f"watch {watches}"
    )


def steps(service: Service) -> list[str]:
    return [str(line["step"]) for line in service.lines("stop")]


def complaints(service: Service) -> list[str]:
    return [step for step in steps(service) if step.startswith("endpoint cannot be watched: ")]


def test_a_service_that_does_not_stop_asks_nothing(pod: Start, api: KubeApi) -> None:
    service = pod()
    for _ in range(3):
        assert service.get("/hello").status == 200
    assert api.asked == []
    withdraw(api)
    service.signal()
    assert service.ended() == 0
    assert [what for what, _ in api.asked][:1] == ["list"]


def test_it_waits_for_an_endpoint_that_is_late(pod: Start, api: KubeApi) -> None:
    service = pod()
    service.signal()
    watched(api)
    time.sleep(FALLBACK + 0.5)  # for longer than without the API
    assert service.get("/hello").status == 200
    withdrawn = withdraw(api)
    assert service.ended() == 0
    assert SLACK <= time.monotonic() - withdrawn < SLACK + LATE
    assert service.report["decided_by"] == "endpoint gone + slack"
    assert "endpoint withdrawn" in steps(service)
    assert "no new requests expected (endpoint gone + slack); ending 0 streams" in steps(service)
    assert complaints(service) == []


def test_an_endpoint_that_is_gone_already_costs_no_more_than_slack(
    pod: Start, api: KubeApi
) -> None:
    service = pod(APP_SHUTDOWN__FALLBACK_SECONDS="9")
    withdraw(api)
    service.signal()
    assert service.seconds() < SLACK + LATE
    assert service.report["decided_by"] == "endpoint gone + slack"


def test_the_floor_holds_in_any_case(pod: Start, api: KubeApi) -> None:
    service = pod(APP_SHUTDOWN__FLOOR_SECONDS="2")
    withdraw(api)
    service.signal()
    assert service.ended() == 0
    assert service.report["seconds"]["draining"] >= 2
    assert service.report["decided_by"] == "floor"


def test_eviction_the_endpoint_follows_by_the_probe(pod: Start, api: KubeApi) -> None:
    """Nobody has deleted the pod, as when its node shuts down: its endpoint is as its probe is."""
    service = pod()
    service.signal()
    failures = 0
    while failures < 3:
        failures = failures + 1 if service.probe("readyz").status == 503 else 0
        time.sleep(0.4)
    assert service.process.poll() is None, "it waits for what its probe will bring about"
    api.put(endpoint_slice(endpoint("web-1", ready=False, serving=False), *OTHERS))
    assert service.ended() == 0
    assert service.report["decided_by"] == "endpoint gone + slack"


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("401", "does not accept the token"),
        ("403", "no permission to list and watch endpointslices"),
        ("404", "no endpointslices"),
        ("500", "500 Internal Server Error"),
        ("410", "no longer has"),
        ("dead", "broke off"),
        ("garbage", "is malformed"),
        ("other-kind", "not an EndpointSliceList"),
        ("nonsense", "is malformed"),
        ("deep", "is malformed"),
        ("empty", "not among the endpoints of Service web"),
        ("huge", "larger than"),
        ("silent", "does not respond"),
        ("drip-headers", "does not respond"),
        ("drip-body", "does not respond"),
    ],
)
def test_an_api_that_fails_from_the_beginning(
    pod: Start, api: KubeApi, fault: str, why: str
) -> None:
    service = pod()
    api.fail(fault)
    service.signal()
    assert service.ended() == 0
    assert FALLBACK <= service.report["seconds"]["draining"] < FALLBACK + LATE
    assert service.report["decided_by"] == "fallback"
    (said,) = complaints(service)
    assert why in said
    assert said.endswith(f"using the fallback of {FALLBACK:g} s")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"APP_KUBERNETES__API": "http://127.0.0.1:9"}, "the API cannot be reached"),
        ({"APP_KUBERNETES__API": ""}, "KUBERNETES_SERVICE_HOST is not set"),
        ({"POD_NAMESPACE": ""}, "is it mounted?"),
        ({"POD_NAME": ""}, "POD_NAME is not set"),
        ({"POD_NAME": "web-9"}, "this pod is not among the endpoints of Service web"),
        ({"APP_KUBERNETES__SERVICES": "typo"}, "not among the endpoints of Service typo"),
    ],
)
def test_what_is_missing_is_said(pod: Start, settings: dict[str, str], why: str) -> None:
    service = pod(**settings)
    service.signal()
    assert service.ended() == 0
    assert FALLBACK <= service.report["seconds"]["draining"] < FALLBACK + LATE
    (said,) = complaints(service)
    assert why in said


@pytest.mark.parametrize("fallback", ["0", "0.8"])
def test_without_services_nothing_is_watched(pod: Start, api: KubeApi, fallback: str) -> None:
    service = pod(APP_KUBERNETES__SERVICES="", APP_SHUTDOWN__FALLBACK_SECONDS=fallback)
    service.signal()
    assert service.ended() == 0
    assert service.report["seconds"]["draining"] >= float(fallback)
    assert api.asked == []
    said = [step for step in steps(service) if step.startswith("endpoint not watched")]
    assert len(said) == (fallback != "0"), "outside of Kubernetes there is nothing to say"


@pytest.mark.parametrize("fault", ["dead", "403", "500", "garbage"])
def test_an_api_that_dies_in_the_middle(pod: Start, api: KubeApi, fault: str) -> None:
    """The endpoint was there when it was last heard of: the fallback counts from then."""
    service = pod()
    service.signal()
    watched(api)
    time.sleep(1)
    api.put(endpoint_slice(endpoint("web-1"), *OTHERS))
    api.fail(fault)
    assert service.ended() == 0
    assert 1 + FALLBACK <= service.report["seconds"]["draining"] < LIMIT
    assert service.report["decided_by"] == "fallback"
    assert len(complaints(service)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["silent", "mute"])
def test_an_api_that_falls_silent(pod: Start, api: KubeApi, fault: str) -> None:
    service = pod()
    service.signal()
    watched(api)
    api.fail(fault)
    if fault == "mute":  # its lists are well, so it is still known that the endpoint is there
        watched(api, 2)
        withdraw(api)
        assert service.ended() == 0
        assert service.report["decided_by"] == "endpoint gone + slack"
        return
    assert service.ended() == 0
    assert FALLBACK <= service.report["seconds"]["draining"] < LIMIT
    assert service.report["decided_by"] == "fallback"
    (said,) = complaints(service)
    assert "does not respond" in said


@pytest.mark.parametrize("fault", ["gone", "gone-event", "cut", "noise", "short"])
def test_a_watch_that_fails_is_begun_anew(pod: Start, api: KubeApi, fault: str) -> None:
    service = pod(APP_SHUTDOWN__SLACK_SECONDS="1.5")
    service.signal()
    watched(api)
    api.fail(fault)
    eventually(lambda: [what for what, _ in api.asked].count("list") >= 3, "lists")
    assert service.process.poll() is None
    withdraw(api)
    assert service.ended() == 0
    assert service.report["decided_by"] == "endpoint gone + slack"
    assert complaints(service) == []
    assert len(api.asked) < 30, "with pauses between"


def test_an_api_that_comes_back_is_believed(pod: Start, api: KubeApi) -> None:
    service = pod(APP_SHUTDOWN__FALLBACK_SECONDS="8")
    api.fail("500")
    service.signal()
    eventually(lambda: complaints(service), "the complaint")
    api.fail("")
    eventually(
        lambda: "endpoint in rotation: waiting for it to be withdrawn" in steps(service), "the news"
    )
    withdraw(api)
    assert service.ended() == 0
    assert service.report["decided_by"] == "endpoint gone + slack"
    assert service.report["seconds"]["draining"] < 8


def test_what_was_seen_withdrawn_stays_so_when_the_api_dies(pod: Start, api: KubeApi) -> None:
    service = pod(APP_SHUTDOWN__SLACK_SECONDS="2", APP_SHUTDOWN__FALLBACK_SECONDS="9")
    withdraw(api)
    service.signal()
    watched(api)
    api.fail("dead")
    assert service.seconds() < 2 + LATE
    assert service.report["decided_by"] == "endpoint gone + slack"
    assert complaints(service) == []


def test_an_endpoint_that_returns_is_waited_for_again(pod: Start, api: KubeApi) -> None:
    service = pod(APP_SHUTDOWN__SLACK_SECONDS="1.5")
    withdraw(api)
    service.signal()
    service.logged("stop", step="endpoint withdrawn")
    api.put(endpoint_slice(endpoint("web-1"), *OTHERS))
    service.logged("stop", step="endpoint in rotation: waiting for it to be withdrawn")
    time.sleep(2)  # longer than slack
    assert service.process.poll() is None
    again = withdraw(api)
    assert service.ended() == 0
    assert time.monotonic() - again >= 1.5


def test_an_api_that_lies_holds_it_up_to_the_limit_and_no_longer(pod: Start) -> None:
    service = pod(APP_SHUTDOWN__LIMIT_SECONDS="3")
    service.signal()
    assert service.ended() == 0
    assert 3 <= service.report["seconds"]["draining"] < 3 + LATE
    assert service.report["decided_by"] == "limit, before endpoint gone + slack"


def test_a_second_signal_does_not_wait_for_the_endpoint(pod: Start, api: KubeApi) -> None:
    service = pod()
    service.signal()
    watched(api)
    service.signal(signal.SIGTERM)
    assert service.seconds() < LATE
    assert service.report["decided_by"] == "hurried"


def test_the_hook_tells_of_it(pod: Start, api: KubeApi) -> None:
    service = pod()
    hook = service.prestop()
    watched(api)
    withdraw(api)
    told, _ = hook.communicate(timeout=20)
    assert "endpoint withdrawn" in told
    assert "no new requests expected (endpoint gone + slack)" in told
