"""Nothing in the cloud is needed to start, to serve and to stop: each part of it is out of reach.

Starts wait for none of it, requests neither, and a stop takes as long as its fallback says.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import HOST, Service
from tests.kube import endpoint, endpoint_slice, serving
from tests.unreachable import NO_WAIT, dropping, mute_names, nameless, refusing

Place = Callable[[], AbstractContextManager[str]]
#: Seconds.
SLACK, FALLBACK, LIMIT = 0.3, 0.8, 20.0
POD = {
    "POD_NAME": "web-1",
    "POD_NAMESPACE": "prod",
    "APP_SHUTDOWN__SLACK_SECONDS": str(SLACK),
    "APP_SHUTDOWN__FALLBACK_SECONDS": str(FALLBACK),
    "APP_SHUTDOWN__LIMIT_SECONDS": str(LIMIT),
}


@pytest.fixture
def far(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    with mute_names(tmp_path) as init:
        yield init


def started(serve: Start, **settings: object) -> Service:
    began = time.monotonic()
    service = serve("", **{**POD, **settings})
    assert time.monotonic() - began < NO_WAIT, "it waited for what it cannot reach"
    return service


def serves_and_stops(service: Service, waits: float) -> None:
    began = time.monotonic()
    for _ in range(10):
        assert service.get("/hello").status == 200
    assert time.monotonic() - began < NO_WAIT
    assert service.probe("livez").status == service.probe("readyz").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.seconds() < waits + NO_WAIT
    assert service.report["cut"] == []


@pytest.mark.parametrize("place", [refusing, dropping])
def test_the_api_server(serve: Start, place: Place) -> None:
    with place() as address:
        settings = {"APP_KUBERNETES__SERVICES": "web", "APP_KUBERNETES__API": f"http://{address}"}
        service = started(serve, **settings)
        serves_and_stops(service, FALLBACK)
    assert service.report["decided_by"] == "fallback"


def test_names(serve: Start, far: tuple[str, ...]) -> None:
    """The name of the API server, and with it every other, as without a cluster's DNS."""
    with nameless() as address:
        settings = {"APP_KUBERNETES__SERVICES": "web", "APP_KUBERNETES__API": f"http://{address}"}
        service = started(serve, init=far, **settings)
        serves_and_stops(service, FALLBACK)
    assert service.report["decided_by"] == "fallback"


def test_a_lookup_of_the_application_does_not_hold_up_the_exit(
    serve: Start, far: tuple[str, ...]
) -> None:
    service = serve("tests.apps.lookups", init=far)
    assert service.get("/look-up/name.example").body == b'"given up"'
    service.signal()
    assert service.ended() == 0
    assert service.report["cut"] == []
    assert service.seconds() < NO_WAIT


def test_a_process_may_go_on_after_its_service(serve: Start) -> None:
    service = serve("tests.apps.lasting")
    service.signal()
    assert service.ended() == 1
    assert service.stderr == "the process goes on\n"


@pytest.mark.parametrize("place", [refusing, dropping])
def test_the_address_of_the_service(serve: Start, place: Place) -> None:
    leaves_with_its_endpoint(serve, place)


def test_the_name_of_the_service(serve: Start, far: tuple[str, ...]) -> None:
    leaves_with_its_endpoint(serve, nameless, init=far)


def leaves_with_its_endpoint(serve: Start, place: Place, **options: object) -> None:
    """The API server says that the endpoint is gone; nobody can ask whom the Service leads to."""
    others = endpoint("web-2"), endpoint("web-3")
    with place() as address, serving() as api:
        gone = endpoint("web-1", ready=False, serving=True, terminating=True)
        api.put(endpoint_slice(gone, *others))
        settings = {
            "APP_KUBERNETES__SERVICES": f"web={address}",
            "APP_KUBERNETES__API": api.url,
        }
        service = started(serve, **settings, **options)
        serves_and_stops(service, SLACK)
    assert service.report["decided_by"].startswith("endpoint gone")


def test_no_cluster_is_known(serve: Start) -> None:
    """As on KubeEdge, where pods have no KUBERNETES_SERVICE_HOST."""
    service = started(serve, APP_KUBERNETES__SERVICES=f"web={HOST}:9")
    assert "KUBERNETES_SERVICE_HOST" not in service.environment
    serves_and_stops(service, FALLBACK)
    assert service.report["decided_by"] == "fallback"
    assert any(
        "KUBERNETES_SERVICE_HOST is not set" in line["step"] for line in service.lines("stop")
    )


def test_a_lookup_hangs_indeed(far: tuple[str, ...]) -> None:
    """Or the tests with them could not fail."""
    lookup = "import socket; socket.getaddrinfo('name.example', 80)"
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run([*far, sys.executable, "-c", lookup], timeout=3, capture_output=True)
        pytest.fail("the lookup was answered")
