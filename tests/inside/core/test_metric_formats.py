"""What the metrics are made of, without a service: formats, bounds and prices."""

import asyncio
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.routing import Route

from app.lifecycle.http.exchange import Exchange
from app.lifecycle.http.measured import HttpMetrics
from app.lifecycle.http.route import UNMATCHED, route_of
from app.observability import process
from app.observability.histogram import OVERFLOW, Histogram
from app.observability.metrics import Family, Metric, accepts_openmetrics, exposition
from tests.apps.measured import with_every_kind_of_route
from tests.scraped import parsed, parsed_openmetrics


def finished(route: str = "/items/{id}", status: int = 200, method: str = "GET") -> Exchange:
    """An exchange as the metrics see one."""
    scope = {"method": method, "scheme": "http", "endpoint": 1, "route": Route(route, len)}
    outcome = (status, "")
    exchange = SimpleNamespace(
        scope=scope,
        stream=False,
        outcome=lambda: outcome,
        refused="",
        body=None,
        sent=2000,
        responded=0.0,
    )
    return cast(Exchange, exchange)


def families(metrics: HttpMetrics) -> list[Any]:
    return parsed_openmetrics(exposition(metrics.families(), openmetrics=True) + "# EOF\n")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", False),
        ("*/*", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0; q=0.5, text/plain;q=0.3,*/*;q=0.1", True),
        ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=nan, ;;q=,\xff", False),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, chosen: bool) -> None:
    assert accepts_openmetrics(accept.encode("latin-1")) is chosen


def test_both_formats_say_the_same() -> None:
    histogram = Histogram("took_seconds", 'How "long".', (0.1, 1))
    labels = {"route": '/a"b\\c\n', "method": "GET"}
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.series(labels).observe(value)
    counter = Metric("seen_total", "counter", "So far.", [({}, 3), ({"a": "b"}, 4)])
    both: list[Family] = [histogram, counter]
    text = parsed(exposition(both))
    newer = parsed_openmetrics(exposition(both, openmetrics=True) + "# EOF\n")
    assert [one.samples for one in newer] == [one.samples for one in text]
    buckets = [one for one in text[0].samples if one.name == "took_seconds_bucket"]
    assert [one.value for one in buckets] == [2, 3, 4]
    assert {name: value for name, value in buckets[0].labels.items() if name != "le"} == labels


def test_the_sets_of_labels_are_bounded() -> None:
    metrics = HttpMetrics(limit=20)
    for number in range(100):
        metrics(finished(f"/{number}"), 0.1)
        metrics(finished("/a", status=number), 0.1)
        metrics(finished("/a", method=f"M{number}"), 0.1)
    for family in families(metrics):
        if family.name.startswith("http"):
            counts = {
                frozenset(one.labels.items()): one.value
                for one in family.samples
                if one.name.endswith("_count")
            }
            assert len(counts) == 20
            assert sum(counts.values()) == 300
            assert counts[frozenset(OVERFLOW.items())] > 0
    text = exposition(metrics.families())
    assert "M1" not in text
    assert len(metrics._known) == 20
    assert 'status_code="99"' not in text


def test_unknown_methods_and_statuses_share_a_label() -> None:
    metrics = HttpMetrics()
    for number in range(100):
        metrics(finished(method=f"M{number}"), 0.1)
        metrics(finished(status=1000 + number), 0.1)
    counts = [one for one in families(metrics)[0].samples if one.name.endswith("_count")]
    assert {
        (one.labels["http_request_method"], one.labels["http_response_status_code"], one.value)
        for one in counts
    } == {("_OTHER", "200", 100), ("GET", "_OTHER", 100)}


def test_a_scrape_beside_requests_is_consistent() -> None:
    metrics = HttpMetrics()
    done = threading.Event()
    last = 0

    def work() -> None:
        number = 0
        while not done.is_set():
            number += 1
            metrics(finished(f"/{number % 100}"), number % 11)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(50):
            text = exposition(metrics.families()[:1])
            buckets = [int(count) for count in re.findall(r'le="\+Inf"\} (\d+)', text)]
            assert buckets == [int(count) for count in re.findall(r"_count\{.*?\} (\d+)", text)]
            assert sum(buckets) >= last
            last = sum(buckets)
    finally:
        done.set()
        worker.join()
    assert last > 0


def test_a_scrape_of_sixty_routes_takes_milliseconds() -> None:
    """It holds the interpreter's lock, so the event loop may stand still for that long."""
    metrics = HttpMetrics()
    for number in range(60):
        for status in (200, 404, 500):
            metrics(finished(f"/things/{number}/{{id}}", status), 0.1)
    spent = []
    for _ in range(20):
        began = time.thread_time()
        text = exposition(metrics.families())
        spent.append(time.thread_time() - began)
    assert text.count("\n") > 60 * 3 * 17
    assert min(spent) < 0.01  # 2 ms on a quiet machine


async def ask(app: Any, path: str, kind: str = "http", host: bytes = b"test") -> str:
    messages = iter([{"type": "websocket.connect"} if kind == "websocket" else {}])
    scope: dict[str, Any] = {
        "type": kind,
        "http_version": "1.1",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", host)],
        "client": None,
        "server": None,
        **({"subprotocols": []} if kind == "websocket" else {"method": "GET"}),
    }

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        pass

    await app(scope, receive, send)
    return route_of(scope)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/own/1", "/own/{a}"),
        ("/own/wrong", "/own/{a}"),
        ("/outer/1/inner/2", "/outer/{o}/inner/{a}"),
        ("/outer/1/plain/2", "/outer/{o}/plain/{x}"),
        ("/outer/1/mounted/2/3", "/outer/{o}/mounted/{n}/{q}"),
        ("/outer/1/mounted/2/3/4", "/outer/{o}/mounted/{n}/{path}"),
        ("/tenants/a/items/3", "/tenants/{tenant}/items/{number}"),
        ("/tenants/b/status/200", "/tenants/{tenant}/status/{status}"),
        ("/tenants/a/nowhere", "/tenants/{tenant}/{path}"),
        ("/app/1", "/app/{q}"),
        ("/app/deep/items/1", "/app/deep/items/{number}"),
        ("/plain/1", "/plain/{x}"),
        ("/docs", "/docs"),
        ("/nowhere", UNMATCHED),
        ("/own/1/", UNMATCHED),  # redirected
    ],
)
def test_a_route_is_its_whole_template(path: str, template: str) -> None:
    app = with_every_kind_of_route()
    assert asyncio.run(ask(app, path)) == template
    assert asyncio.run(ask(app, path)) == template  # from the prefixes that are kept


def test_so_is_that_of_websockets_and_hosts() -> None:
    app = with_every_kind_of_route()
    assert asyncio.run(ask(app, "/outer/1/inner/ws/2", "websocket")) == "/outer/{o}/inner/ws/{a}"
    assert asyncio.run(ask(app, "/nowhere", "websocket")) == UNMATCHED
    host = b"a.example.org"
    assert asyncio.run(ask(app, "/hosted/2", host=host)) == "/hosted/{x}"
    assert asyncio.run(ask(app, "/m/items/2", host=host)) == "/m/items/{number}"


@pytest.mark.parametrize(
    "found",
    [
        {"route": object()},
        {"route": None, "router": object(), "path": "/a"},
        {"route": object(), "fastapi": {"effective_route_context": object()}},
        {"app_root_path": "", "root_path": "/a", "router": SimpleNamespace(routes=[object()])},
    ],
)
def test_a_router_of_another_kind_fails_no_request(found: dict[str, Any]) -> None:
    assert route_of({"endpoint": len, **found}) == UNMATCHED


def test_without_proc_the_rest_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def names() -> set[str]:
        return {metric.name for metric in process.process_metrics()}

    everywhere = {"process_cpu_seconds_total", "process_max_fds", "python_gc_collections_total"}
    if sys.platform == "linux":
        assert {"process_resident_memory_bytes", "process_threads", *everywhere} <= names()
    monkeypatch.setattr(process, "_PROC", tmp_path)
    assert everywhere <= names()
    assert "process_resident_memory_bytes" not in names()


@pytest.fixture
def promtool() -> Iterator[str]:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed")
    yield found


def test_promtool_has_nothing_to_say(promtool: str) -> None:
    metrics = HttpMetrics()
    metrics(finished(), 0.1)
    text = exposition([*metrics.families(), *process.process_metrics()])
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
