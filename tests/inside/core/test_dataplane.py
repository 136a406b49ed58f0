"""Who answers at the Service's own address, seen from a pod that drains."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from app.lifecycle.kubernetes import data_plane as dataplane
from app.lifecycle.kubernetes.data_plane import Question, ask, who_answers
from tests.conftest import Start
from tests.harness import HOST, Service, eventually, free_port
from tests.kube import KubeApi, endpoint, endpoint_slice, serving
from tests.service_address import (
    NOBODY,
    Drip,
    ServiceAddress,
    another_pod,
    listening,
    service_address,
)

SLACK, LIMIT = 0.5, 20.0
LATE = 8


@pytest.fixture
def others() -> Iterator[list[int]]:
    """Ports of two pods that are well."""
    with another_pod("web-2") as two, another_pod("web-3") as three:
        yield [two, three]


# -- one question ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pods", "tries"), [(0, 1), (1, 1), (2, 10), (3, 18), (10, 66), (29, 197), (1000, 200)]
)
def test_as_many_connections_as_it_takes_to_be_sure(pods: int, tries: int) -> None:
    question = Question("web", HOST, 80, "web-1", pods)
    assert question.tries() == tries
    assert 0.02 <= question.interval() <= 0.1, "a bounded rate"
    if 1 < pods < 30:
        assert (1 - 1 / pods) ** tries <= 0.001 < (1 - 1 / pods) ** (tries - 2)


def asked(
    port: int, pods: int = 3, over: threading.Event | None = None
) -> tuple[str, list[float], list[float]]:
    """The sentence about it, when this pod answered, and until when it was to be waited."""
    own: list[float] = []
    until: list[float] = []

    def change(own_answer: float = -1, asking_until: float = -1) -> None:
        own.extend([own_answer] if own_answer >= 0 else [])
        until.extend([asking_until] if asking_until >= 0 else [])

    question = Question("web", HOST, port, "web-1", pods)
    return ask(question, over or threading.Event(), change).sentence, own, until


def test_others_answer(others: list[int]) -> None:
    with service_address(*others) as address:
        sentence, own, until = asked(address.port)
    assert sentence == "Service web routes to other pods: 18 connections in a row"
    assert (address.connections, own) == (18, [])
    assert len(until) == 1


def test_this_pod_answers_for_a_while(others: list[int]) -> None:
    with another_pod("web-1") as me, service_address(me, *others) as address:
        connections: list[int] = []

        def leave() -> None:
            address.pods = tuple(others)
            connections.append(address.connections)

        threading.Timer(1.0, leave).start()
        began = time.monotonic()
        sentence, own, until = asked(address.port)
        after = address.connections - connections[0]
    assert sentence.startswith("Service web routes to other pods: 18 connections in a row, after ")
    assert own
    assert max(own) - began < 6
    assert 18 - 2 <= after <= 18, "a whole row after its last answer"
    assert max(until) > max(own)


def test_a_pod_alone_is_told_from_itself_at_the_first_answer() -> None:
    assert asked(free_port(), pods=1)[0].startswith("Service web routes to other pods: 1 ")


def test_nobody_listens_means_not_this_pod() -> None:
    assert who_answers(socket.AF_INET, (HOST, free_port()), "web") == ""


def test_an_answer_without_a_name_is_anothers(others: list[int]) -> None:
    with another_pod("") as proxy:
        assert who_answers(socket.AF_INET, (HOST, proxy), "web") == ""
        sentence = asked(proxy, pods=2)[0]
    assert sentence == "Service web routes to other pods: 10 connections in a row"


def test_an_answer_that_drips_is_none() -> None:
    with listening(Drip, drops=b"HTTP/1.1 200 OK\r\n" * 20) as port:
        began = time.monotonic()
        assert who_answers(socket.AF_INET, (HOST, port), "web") is None
    assert time.monotonic() - began < 15


def test_a_name_lookup_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(30) and [])
    why = f"{HOST}: the DNS does not respond"
    assert asked(1)[0] == f"Service web: cannot check which pods answer: {why}"
    over.set()


def test_no_hairpin_is_said_once(others: list[int]) -> None:
    with service_address(NOBODY, *others) as address:
        sentence, own, _ = asked(address.port, pods=30)
    assert "does not always answer this pod" in sentence
    assert own == []
    assert address.connections < 20


def test_it_ends_with_the_drain() -> None:
    over = threading.Event()
    with another_pod("web-1") as me:
        threading.Timer(0.5, over.set).start()
        began = time.monotonic()
        sentence, own, _ = asked(me, over=over)
    assert time.monotonic() - began < 15
    assert sentence.startswith("Service web still routes to this pod, which answered ")
    assert len(own) > 3


def test_the_number_of_questions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataplane, "MOST", 5)
    with another_pod("web-1") as me:
        sentence, *_ = asked(me)
    assert sentence == "Service web still routes to this pod, which answered 5 of 5 connections"


def test_more_pods_than_can_be_told_apart_are_not_counted(
    others: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataplane, "SHORTEST", 0.0)
    with service_address(*others) as address:
        question = Question("web", HOST, address.port, "web-1", 100)
        found = ask(question, threading.Event(), lambda **_: None)
    assert found.sentence.endswith("; with 100 pods that is only 86 % certain: not counted")
    assert found.unsure == "which pods answer is only 86 % certain"


@pytest.mark.parametrize(
    ("pods", "percent"), [(1, 100), (3, 99.9), (29, 99.9), (100, 86), (500, 32)]
)
def test_how_sure_a_row_of_others_is(pods: int, percent: float) -> None:
    sure = 100 * Question("web", HOST, 80, "web-1", pods).confidence()
    assert percent <= sure < percent + 1


# -- a service that drains ------------------------------------------------------------------


@pytest.fixture
def api() -> Iterator[KubeApi]:
    with serving() as api:
        api.put(endpoint_slice(*(endpoint(f"web-{number}") for number in (1, 2, 3))))
        yield api


def withdraw(api: KubeApi) -> None:
    leaving = endpoint("web-1", ready=False, serving=True, terminating=True)
    api.put(endpoint_slice(leaving, endpoint("web-2"), endpoint("web-3")))


@contextlib.contextmanager
def pod_behind(
    serve: Start, api: KubeApi, *others: int, **settings: str
) -> Iterator[tuple[Service, ServiceAddress]]:
    """A ready pod, and the Service that leads to it and to ``others``."""
    with service_address() as address:
        known = {
            "POD_NAME": "web-1",
            "POD_NAMESPACE": "prod",
            "APP_KUBERNETES__SERVICES": f"web={HOST}:{address.port}",
            "APP_KUBERNETES__API": api.url,
            "APP_SHUTDOWN__SLACK_SECONDS": str(SLACK),
            "APP_SHUTDOWN__LIMIT_SECONDS": str(LIMIT),
        }
        service = serve(**{**known, **settings})
        address.pods = (service.port, *others)
        yield service, address


def steps(service: Service, beginning: str) -> list[str]:
    told = (str(line["step"]) for line in service.lines("stop"))
    return [step for step in told if step.startswith(beginning)]


def test_the_main_port_says_which_pod_answers(serve: Start) -> None:
    service = serve(POD_NAME="web-1")
    assert service.get("/readyz").headers["x-pod-name"] == "web-1"
    assert "x-pod-name" not in service.get("/livez").headers
    assert "x-pod-name" not in service.probe("readyz").headers
    assert "x-pod-name" not in serve().get("/readyz").headers, "not known"


def test_a_node_that_is_late_is_waited_for(serve: Start, api: KubeApi, others: list[int]) -> None:
    with pod_behind(serve, api, *others) as (service, address):
        withdraw(api)
        service.signal()
        service.logged("stop", step="endpoint withdrawn")
        time.sleep(2.5)  # longer than slack and all connections in a row
        assert service.process.poll() is None
        address.pods = tuple(others)
        applied = time.monotonic()
        assert service.ended() == 0
        assert SLACK <= time.monotonic() - applied + 0.2 < SLACK + 1.5 + LATE
    assert service.report["decided_by"] in (
        "last answer to itself + slack",
        "who answers at the Service",
    )
    assert service.report["requests_served"] == 0, "its own questions are no traffic"
    (said,) = steps(service, "Service web routes to other pods: 18 connections in a row, after")
    assert said.endswith(" answers of this pod")


def test_a_node_that_is_quick_costs_nothing(serve: Start, api: KubeApi, others: list[int]) -> None:
    with pod_behind(serve, api, APP_SHUTDOWN__SLACK_SECONDS="2") as (service, address):
        address.pods = tuple(others)
        withdraw(api)
        service.signal()
        assert service.ended() == 0
    assert 2 <= service.report["seconds"]["draining"] < 2 + LATE, "no longer than slack"
    assert service.report["decided_by"] == "endpoint gone + slack"
    assert steps(service, "Service web routes to other pods: 18 connections in a row")


def test_where_the_question_is_not_sure_the_fallback_counts(
    serve: Start, api: KubeApi, others: list[int]
) -> None:
    """One of 100 pods is missed by 200 connections in a row in one of eight cases."""
    crowd = [endpoint(f"web-{number}") for number in range(2, 101)]
    api.put(endpoint_slice(endpoint("web-1"), *crowd))
    with pod_behind(serve, api, APP_SHUTDOWN__FALLBACK_SECONDS="6") as (service, address):
        address.pods = tuple(others)
        service.signal()
        eventually(lambda: "watch" in [what for what, _ in api.asked], "the watch")
        leaving = endpoint("web-1", ready=False, serving=True, terminating=True)
        api.put(endpoint_slice(leaving, *crowd))
        withdrawn = time.monotonic()
        assert service.ended() == 0
        assert time.monotonic() - withdrawn >= 5.5
    assert service.report["decided_by"] == (
        "endpoint gone + fallback (which pods answer is only 86 % certain)"
    )


def test_before_the_endpoint_is_gone_nobody_is_asked(
    serve: Start, api: KubeApi, others: list[int]
) -> None:
    settings = {"APP_SHUTDOWN__LIMIT_SECONDS": "1.5"}
    with pod_behind(serve, api, *others, **settings) as (service, address):
        service.signal()
        assert service.ended() == 0
        assert address.connections == 0


def test_a_pod_that_answers_itself_for_ever_stops_at_the_limit(serve: Start, api: KubeApi) -> None:
    with pod_behind(serve, api, APP_SHUTDOWN__LIMIT_SECONDS="4") as (service, _):
        withdraw(api)
        service.signal()
        assert service.ended() == 0
    assert 4 <= service.report["seconds"]["draining"] < 4 + LATE
    assert service.report["decided_by"].startswith("limit, before ")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"APP_KUBERNETES__SERVICES": "web:80"},
            "Service web: cannot check which pods answer: web.",
        ),
        ({"APP_KUBERNETES__SERVICES": "web"}, ""),
        ({"APP_PROBES__MAIN_PORT": "false"}, ""),
    ],
)
def test_without_an_address_the_api_alone_decides(
    serve: Start, api: KubeApi, settings: dict[str, str], said: str
) -> None:
    with pod_behind(serve, api, **settings) as (service, address):
        withdraw(api)
        service.signal()
        assert service.ended() == 0
        assert address.connections == 0
    assert service.report["seconds"]["draining"] < SLACK + LATE
    assert service.report["decided_by"] == "endpoint gone + slack" or said
    assert len(steps(service, "Service web")) == bool(said)
    assert all(step.startswith(said) for step in steps(service, "Service web"))


def test_an_address_that_is_silent_is_given_up(serve: Start, api: KubeApi) -> None:
    with pod_behind(serve, api) as (service, address):
        address.pods = (NOBODY,)
        withdraw(api)
        service.signal()
        assert service.ended() == 0
    assert service.report["seconds"]["draining"] < SLACK + 2 + LATE
    assert len(steps(service, "Service web does not always answer this pod")) == 1
    assert service.report["seconds"]["draining"] < LIMIT
