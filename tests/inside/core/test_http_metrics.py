"""Every request is counted once, with the labels that OpenTelemetry gives it."""

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.scraped import OPENMETRICS, families, read, samples

APP = "tests.apps.measured"
DURATION = "http_server_request_duration_seconds"
REQUEST, RESPONSE = "http_server_request_body_size_bytes", "http_server_response_body_size_bytes"
STREAM = "app_stream_duration_seconds"


def requests(service: Service) -> dict[tuple[str, ...], float]:
    """How many there were by method, scheme, route, status and type of error."""
    names = (
        "http_request_method",
        "url_scheme",
        "http_route",
        "http_response_status_code",
        "error_type",
    )
    return {
        tuple(dict(labels).get(name, "") for name in names): value
        for (name, labels), value in samples(families(service)).items()
        if name == f"{DURATION}_count"
    }


def test_a_known_load_is_counted_exactly(serve: Start) -> None:
    service = serve(APP, APP_REQUESTS__TIMEOUT_SECONDS="1")
    for path in ("/items/3", "/items/30", "/items/none", "/nowhere/1", "/nowhere/2", "/items"):
        service.get(path)
    for method in ("HEAD", "PURGE"):
        with service.connect() as connection:
            connection.ask("/items/3", method)
            connection.head()
    assert service.get("/slow?seconds=60").status == 504
    with service.connect() as connection:
        connection.ask("/slow?seconds=60")
        service.busy(1)
    with service.connect() as connection:
        connection.post("/body", b"x" * 5000)
    with pytest.raises(InvalidStatus), connect(f"ws://{HOST}:{service.port}/nowhere"):
        pass
    expected = {
        ("GET", "http", "/items/{number}", "200", ""): 2,
        ("GET", "http", "/items/{number}", "422", ""): 1,
        ("HEAD", "http", "/items/{number}", "200", ""): 1,
        ("_OTHER", "http", "/items/{number}", "405", ""): 1,
        ("GET", "http", "unmatched", "404", ""): 2,
        ("GET", "http", "/items", "500", "500"): 1,
        ("GET", "http", "/slow", "504", "deadline"): 1,
        ("GET", "http", "/slow", "499", "client gone"): 1,
        ("POST", "http", "/body", "200", ""): 1,
        ("GET", "ws", "unmatched", "403", ""): 1,
    }
    eventually(lambda: sum(requests(service).values()) == 12, "all of them")
    assert requests(service) == expected
    body = {"http_request_method": "POST", "http_route": "/body"}
    assert read(service, f"{REQUEST}_sum", **body) == 5000
    assert read(service, f"{REQUEST}_bucket", **body, le="1000.0") == 0
    assert read(service, f"{REQUEST}_bucket", **body, le="10000.0") == 1
    item = {"http_route": "/items/{number}"}
    sent = len('"xxx"') + len('"' + "x" * 30 + '"')
    assert read(service, f"{RESPONSE}_sum", **item, http_request_method="GET") > sent
    assert read(service, f"{RESPONSE}_sum", **item, http_request_method="HEAD") == 0


def test_streams_have_a_metric_of_their_own(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask("/events")
        assert connection.head().status == 200
    with connect(f"ws://{HOST}:{service.port}/echo/a") as websocket:
        websocket.send("x")
        assert websocket.recv() == "x"
    for route in ("/events", "/echo/{name}"):
        eventually(lambda: read(service, f"{STREAM}_count", http_route=route) == 1, route)  # noqa: B023
    assert requests(service) == {}


def test_background_work_is_no_part_of_the_time_of_a_request(serve: Start) -> None:
    service = serve(APP)
    service.get("/background")
    eventually(lambda: requests(service), "the request")
    found = samples(families(service)).items()
    (seconds,) = [value for (name, _), value in found if name == f"{DURATION}_sum"]
    assert 0 < seconds < 1.5


def test_shed_and_late_requests_have_a_type_of_their_own(serve: Start) -> None:
    service = serve(APP, APP_REQUESTS__MAX_IN_FLIGHT="1", APP_REQUESTS__QUEUE="0")
    busy = service.connect()
    busy.ask("/slow?seconds=3")
    service.busy(1)
    assert service.get("/items/3").status == 503
    assert requests(service) == {("GET", "http", "unmatched", "503", "shed"): 1}
    names = {family.name for family in families(service)}
    assert {"app_in_flight_limit", "app_requests_queued", "app_requests_shed"} <= names


def test_they_can_be_read_while_it_drains(serve: Start) -> None:
    service = serve(APP, APP_SHUTDOWN__LIMIT_SECONDS="4")
    served, cut = service.connect(), service.connect()
    served.ask("/slow?seconds=1")
    cut.ask("/slow?seconds=60")
    service.busy(2)
    service.drain()
    assert served.response().status == 200
    eventually(lambda: read(service, "app_drain_requests_served") == 1, "the one that was served")
    now = samples(families(service, OPENMETRICS))
    assert now["app_drain_limit_seconds", frozenset()] == 4
    assert 0 < now["app_drain_seconds", frozenset()] < 60
    assert now["app_grace_seconds", frozenset()] > 4
    assert now["app_requests_cut_total", frozenset()] == 0
    assert service.ended() == 1


def test_what_an_owner_counts_is_there_with_its_exemplars(serve: Start) -> None:
    service = serve(APP)
    assert service.get("/imported").body == b"false"
    before = {family.name for family in families(service)}
    assert service.get("/count").status == 200
    for accept in ("*/*", OPENMETRICS):
        found = families(service, accept)
        assert {family.name for family in found} - before >= {"orders", "cart_items"}
        assert samples(found)["orders_total", frozenset({("kind", "book")})] == 2
        (orders,) = [one for one in found if one.name == "orders"]
        exemplars = [one.exemplar.labels for one in orders.samples if one.exemplar]
        assert exemplars == ([] if accept == "*/*" else [{"trace_id": "ab" * 16}])
    assert service.logged("metrics of the application failed")
    assert "a secret" not in service.probe("metrics").body.decode()


def test_periodic_tasks_tell_of_their_rounds(serve: Start) -> None:
    service = serve(APP)
    eventually(lambda: read(service, "app_task_runs_total", task="often") >= 2, "two rounds")
    last = read(service, "app_task_last_run_timestamp_seconds", task="often")
    following = eventually(
        lambda: read(service, "app_task_next_run_timestamp_seconds", task="often"), "the next"
    )
    assert last < following < last + 60
    lag = read(service, "app_event_loop_lag_seconds_count")
    eventually(lambda: read(service, "app_event_loop_lag_seconds_count") > lag, "the heart to beat")


#: What dashboards, alerts and documents rely on; a counter without its suffix.
CONTRACT = """
app_build_info app_check_well app_component_start_seconds app_component_state
app_connections_accepted app_connections_closed app_connections_open app_connections_refused
app_drain_limit_seconds app_drain_requests_refused app_drain_requests_served app_drain_seconds
app_event_loop_lag_seconds app_event_loop_stalled_seconds app_grace_seconds app_keep_alive_seconds
app_log_lines_dropped app_phase app_ready app_requests_cancelled app_requests_cut
app_requests_in_flight app_stream_duration_seconds app_streams_open app_task_failures
app_task_last_run_timestamp_seconds app_task_next_run_timestamp_seconds app_task_runs
app_tasks_running app_threads_overdue app_websockets_refused http_server_request_body_size_bytes
http_server_request_duration_seconds http_server_response_body_size_bytes process_cpu_seconds
process_max_fds process_open_fds process_resident_memory_bytes process_start_time_seconds
process_threads process_virtual_memory_bytes python_gc_collections python_gc_objects_collected
python_gc_objects_uncollectable python_info
"""


def test_every_name_of_the_contract_is_there(serve: Start) -> None:
    service = serve("tests.application")
    service.get("/hello")
    eventually(lambda: read(service, "app_task_runs_total", task="refresh"), "a round of the task")
    text, newer = families(service), families(service, OPENMETRICS)
    names = {one.name for one in text}
    assert set(CONTRACT.split()) - names == set()
    assert {one.name for one in newer} == names
    assert {name for name, _ in samples(text)} == {name for name, _ in samples(newer)}
    assert [one.name for one in text if not one.documentation.endswith(".")] == []
    found = samples(text)
    state = {"component": "queue", "state": "running"}
    assert found["app_component_state", frozenset(state.items())] == 1
    assert ("app_component_start_seconds", frozenset({("component", "queue")})) in found
    (version,) = [dict(labels)["version"] for name, labels in found if name == "app_build_info"]
    assert version == "0.1.0"
