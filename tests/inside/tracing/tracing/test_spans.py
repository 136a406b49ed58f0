"""The spans that a collector gets, and the ids that tie the log to them."""

import json
import random
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from app.observability import otel
from app.observability.spans import Tracing
from tests.conftest import Start
from tests.harness import HOST, Service
from tests.tracing.collector import CLIENT, INTERNAL, SERVER, Collector, collecting

APP = "tests.apps.traced"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"


@pytest.fixture(scope="module")
def _collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def collector(_collector: Collector) -> Collector:
    _collector.spans.clear()
    _collector.resources.clear()
    return _collector


def settings(collector: Collector, **more: str) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    } | more


def ids(line: dict[str, str]) -> tuple[str, str]:
    return line["trace_id"], line["span_id"]


def test_a_call_is_one_tree_over_two_services(serve: Start, collector: Collector) -> None:
    back = serve(APP, **settings(collector, OTEL_SERVICE_NAME="back"))
    front = serve(
        APP,
        **settings(collector, OTEL_SERVICE_NAME="front", NEXT=f"http://{HOST}:{back.port}"),
    )
    answer = front.get(
        "/call?path=/told",
        traceparent=SAMPLED,
        tracestate="vendor=1",
        baggage="tenant=blue",
        x_request_id="mine",
        x_request_timeout="20",
    )
    told = json.loads(answer.body)
    client = collector.one("GET")
    relay, called = collector.one("GET /call"), collector.one("GET /told")
    assert {relay.trace_id, client.trace_id, called.trace_id} == {TRACE}
    assert (relay.service, client.service, called.service) == ("front", "front", "back")
    assert [span.kind for span in (relay, client, called)] == [SERVER, CLIENT, SERVER]
    assert relay.parent_id == CALLER
    assert client.parent_id == relay.span_id
    assert called.parent_id == client.span_id
    assert {relay.state, called.state} == {"vendor=1"}
    assert told["traceparent"] == f"00-{TRACE}-{client.span_id}-01"
    assert (told["tracestate"], told["baggage"]) == ("vendor=1", "tenant=blue")
    assert told["x-request-id"] == "mine"
    assert 0 < float(told["x-request-timeout"]) <= 20
    own = collector.one("prepare")
    assert own.parent_id == relay.span_id

    prepared = front.logged("prepared")
    assert prepared["tenant"] == "blue"
    assert ids(prepared) == (TRACE, own.span_id), "those of the current span"
    assert ids(front.logged("request")) == (TRACE, relay.span_id)
    assert ids(back.logged("request")) == (TRACE, called.span_id)
    assert back.logged("request")["request_id"] == "mine"
    assert client.attributes["url.full"] == f"http://{HOST}:{back.port}/told"
    assert client.attributes["http.response.status_code"] == 200


def test_an_exemplar_is_the_trace_that_was_recorded(serve: Start, collector: Collector) -> None:
    service = serve(APP, **settings(collector))
    service.get("/things/7", traceparent=UNSAMPLED)
    assert "trace_id" not in metrics(service)
    service.get("/things/7", traceparent=SAMPLED)
    assert f'trace_id="{TRACE}"' in metrics(service)
    assert collector.one("GET /things/{name}").trace_id == TRACE
    assert service.logged("request")["trace_id"] == TRACE


def metrics(service: Service) -> str:
    """The buckets of durations as OpenMetrics."""
    answer = service.probe("metrics", accept="application/openmetrics-text")
    lines = answer.body.decode().splitlines()
    return "".join(line for line in lines if line.startswith("http_server_request_duration"))


def test_a_server_span_tells_of_its_request(serve: Start, collector: Collector) -> None:
    pod = {"POD_NAME": "web-1", "POD_NAMESPACE": "prod", "POD_UID": "u-1", "NODE_NAME": "n-1"}
    service = serve(
        APP,
        **settings(collector, OTEL_RESOURCE_ATTRIBUTES="team=blue%20one,k8s.node.name=n-2", **pod),
    )
    service.get("/things/7?token=hidden", x_request_id="mine")
    service.get("/inner/deep/7")
    service.get("/teapot")
    service.get("/nowhere/7")
    service.connect().ask("/things/7", method="PROPFIND")
    with connect(f"ws://{HOST}:{service.port}/echo") as websocket:
        websocket.send("hello")
        websocket.recv()
    thing = collector.one("GET /things/{name}")
    assert (
        thing.attributes.items()
        >= {
            "http.request.method": "GET",
            "http.route": "/things/{name}",
            "url.path": "/things/7",
            "url.scheme": "http",
            "http.response.status_code": 200,
            "client.address": HOST,
            "network.protocol.version": "1.1",
            "request_id": "mine",
        }.items()
    )
    assert "hidden" not in str(thing)
    assert ids(service.logged("a thing")) == ids(service.logged("request"))
    assert ids(service.logged("request")) == (thing.trace_id, thing.span_id)
    assert not thing.failed
    collector.one("GET /inner/deep/{name}")
    assert not collector.one("GET /teapot").failed, "the client's fault"
    nowhere = collector.one("GET")
    assert "http.route" not in nowhere.attributes
    assert nowhere.attributes["http.response.status_code"] == 404
    odd = collector.wait_for("HTTP /things/{name}")[0]
    assert odd.attributes["http.request.method"] == "_OTHER"
    socket = collector.one("WS /echo")
    assert socket.attributes["http.response.status_code"] == 101
    resource = collector.resources[0]
    assert (
        resource.items()
        >= {
            "service.name": "example-service",
            "service.version": "0.1.0",
            "service.instance.id": "u-1",
            "k8s.pod.name": "web-1",
            "k8s.namespace.name": "prod",
            "k8s.node.name": "n-2",
            "team": "blue one",
        }.items()
    )


def test_an_error_is_in_its_span_without_its_secrets(serve: Start, collector: Collector) -> None:
    service = serve(APP, **settings(collector, NEXT=f"http://{HOST}:1"))
    service.get("/fail")
    service.get("/call-nobody")
    failed = collector.one("GET /fail")
    assert failed.failed
    assert failed.attributes["error.type"] == "LookupError"
    assert failed.attributes["http.response.status_code"] == 500
    assert [name for name, _ in failed.events] == ["exception"]
    (line,) = [x for x in service.lines() if x.get("exception_type") == "LookupError"]
    assert ids(line) == (failed.trace_id, failed.span_id)
    client = collector.one("GET")
    assert client.failed
    assert client.attributes["error.type"] == "httpx2.ConnectError"
    assert "hunter2" not in str(collector.spans) + service.stdout
    assert "hidden" not in str(collector.spans)


def test_tasks_are_traces_of_their_own_with_links(serve: Start, collector: Collector) -> None:
    service = serve(APP, **settings(collector, PERIODIC="yes", OTEL_TRACES_SAMPLER="always_on"))
    service.get("/spawn?error=lost")
    service.get("/later")
    request, task = collector.one("GET /spawn"), collector.one("task spawned")
    assert task.kind == INTERNAL
    assert (task.parent_id, task.links) == ("", [(request.trace_id, request.span_id)])
    assert task.trace_id != request.trace_id
    assert task.failed
    for event in ("spawned", "task failed"):
        assert ids(service.logged(event)) == (task.trace_id, task.span_id)
    later = collector.one("GET /later")
    assert ids(service.logged("done in the background")) == (later.trace_id, later.span_id)
    first, second, third = collector.wait_for("task rounds", 3)[:3]
    assert first.links == []
    assert second.links == [(first.trace_id, first.span_id)]
    assert third.links == [(second.trace_id, second.span_id)]
    assert len({first.trace_id, second.trace_id, third.trace_id}) == 3
    assert ids(service.logged("a round")) == (first.trace_id, first.span_id)


def test_the_stop_is_a_trace_whose_steps_are_events(serve: Start, collector: Collector) -> None:
    # Nothing else is recorded.
    rare = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1e-12"}
    service = serve(APP, **settings(collector, **rare))
    service.get("/things/1")
    service.signal()
    assert service.ended() == 0
    (stop,) = collector.spans
    assert (stop.name, stop.parent_id) == ("stop", "")
    steps = [line["step"] for line in service.lines("stop")]
    assert [name for name, _ in stop.events] == steps
    assert len(steps) > 4
    assert stop.attributes["reason"] == "received SIGTERM"
    assert stop.attributes["exit_code"] == 0
    assert stop.seconds == pytest.approx(service.report["seconds"]["total"], abs=2)


def test_what_is_queued_at_a_stop_is_sent(serve: Start, collector: Collector) -> None:
    service = serve(APP, **settings(collector, OTEL_BSP_SCHEDULE_DELAY="600000"))
    for number in range(3):
        service.get(f"/things/{number}")
    service.signal()
    assert service.ended() == 0
    assert len(collector.named("GET /things/{name}")) == 3


@pytest.mark.parametrize(
    ("sampler", "given", "recorded"),
    [
        ("parentbased_always_on", UNSAMPLED, False),
        ("always_on", UNSAMPLED, True),
        ("parentbased_always_off", SAMPLED, True),
    ],
)
def test_who_decides(
    serve: Start, collector: Collector, sampler: str, given: str, recorded: bool
) -> None:
    service = serve(APP, **settings(collector, OTEL_TRACES_SAMPLER=sampler))
    assert json.loads(service.get("/told", traceparent=given).body)["traceparent"] == given
    line = service.logged("request")
    assert line["trace_id"] == TRACE
    assert line["span_id"] != CALLER
    service.signal()
    assert service.ended() == 0
    assert bool(collector.named("GET /told")) == recorded


@pytest.mark.parametrize(
    ("sampler", "share", "of_unsampled", "of_sampled", "of_none"),
    [
        ("", "", 0, 1, 1),
        ("always_on", "", 1, 1, 1),
        ("always_off", "", 0, 0, 0),
        ("parentbased_always_off", "", 0, 1, 0),
        ("parentbased_traceidratio", "0.25", 0, 1, 0.25),
        ("traceidratio", "0.25", 0.25, 0.25, 0.25),
        ("traceidratio", "0", 0, 0, 0),
    ],
)
def test_shares(
    monkeypatch: pytest.MonkeyPatch,
    sampler: str,
    share: str,
    of_unsampled: float,
    of_sampled: float,
    of_none: float,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    sampling = otel.sampling()
    ids = [random.getrandbits(128) for _ in range(4000)]
    for flags, expected in ((0, of_unsampled), (1, of_sampled), (None, of_none)):
        found = sum(sampling.records(flags, one) for one in ids) / len(ids)
        assert found == pytest.approx(expected, abs=0.05 if 0 < expected < 1 else 0)


def test_without_a_collector_ids_are_made_and_passed_on(serve: Start) -> None:
    service = serve(APP)
    own = Service(APP, NEXT=f"http://{HOST}:{service.port}").ready()
    try:
        told = json.loads(own.get("/call?path=/told").body)
        line = own.logged("request")
        assert told["traceparent"] == f"00-{line['trace_id']}-{line['span_id']}-02"
        told = json.loads(own.get("/call?path=/told", traceparent=SAMPLED).body)
        assert told["traceparent"] == SAMPLED, "as if this service were not there"
    finally:
        own.kill()
        own.clean_up()


@pytest.mark.parametrize(
    "given",
    [
        f"00-{'0' * 32}-{CALLER}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{CALLER}-01",
        f"00-{TRACE}-{CALLER}-01-more",
        f"00-{TRACE.upper()}-{CALLER}-01",
        "nonsense",
    ],
)
def test_a_wrong_traceparent_begins_a_new_trace(given: str) -> None:
    class Request:
        scope = {"headers": [(b"traceparent", given.encode())]}  # noqa: RUF012

    request = Request()
    Tracing().begin(request)  # type: ignore[arg-type]
    made = request.trace  # type: ignore[attr-defined]
    assert made.trace_id != TRACE
    assert len(made.trace_id) == 32


def test_a_later_version_may_say_more() -> None:
    class Request:
        scope = {"headers": [(b"traceparent", f"01-{TRACE}-{CALLER}-01-more".encode())]}  # noqa: RUF012

    request = Request()
    Tracing().begin(request)  # type: ignore[arg-type]
    assert request.trace.trace_id == TRACE  # type: ignore[attr-defined]
