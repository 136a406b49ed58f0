"""While the service drains it accepts and serves, and tells every client to go elsewhere."""

import time
from http.client import HTTPConnection

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import Start
from tests.harness import HOST, PATIENCE, eventually

#: Time in which a slow machine, too, has sent all that comes late.
FLOOR = {"APP_SHUTDOWN__FLOOR_SECONDS": "3"}


def test_new_connections_are_served(serve: Start) -> None:
    service = serve(**FLOOR)
    service.drain()
    for _ in range(5):
        with service.connect() as connection:
            answer = connection.get("/hello")
            assert (answer.status, answer.closes) == (200, True)
            assert connection.ends()
    assert service.ended() == 0
    assert service.report["connections_served"] == 5
    assert service.report["requests_served"] == 5


def test_kept_connections_are_served_once_more(serve: Start) -> None:
    service = serve(**FLOOR)
    connections = [service.connect() for _ in range(5)]
    for connection in connections:
        assert not connection.get("/hello").closes
    service.drain()
    for connection in connections:
        answer = connection.get("/hello")
        assert (answer.status, answer.closes) == (200, True)
        assert connection.ends()
    assert service.ended() == 0


def test_errors_say_it_too(serve: Start) -> None:
    service = serve(**FLOOR)
    service.drain()
    answer = service.get("/nowhere")
    assert (answer.status, answer.closes) == (404, True)
    answer = service.connect().post("/jobs", b"{")
    assert (answer.status, answer.closes) == (422, True)


def test_a_response_that_asks_to_keep_the_connection_is_overruled(serve: Start) -> None:
    """sse-starlette sends `Connection: keep-alive`; the client must not get both."""
    service = serve("tests.apps.streams", **FLOOR)
    service.drain()
    client = HTTPConnection(HOST, service.port, timeout=PATIENCE)
    client.request("GET", "/sse-starlette")
    assert client.getresponse().headers.get_all("connection") == ["close"]
    client.close()
    assert service.ended() == 0


def test_a_response_under_way_keeps_its_connection_for_one_more_request(serve: Start) -> None:
    service = serve("tests.apps.requests", **FLOOR)
    with service.connect() as connection:
        connection.ask("/download")
        assert not connection.head().closes
        assert connection.chunk() == b"first"
        service.drain()
        assert service.get("/go-on").status == 200
        assert connection.chunk() == b"second"
        assert connection.chunk() == b""
        answer = connection.get("/slow?seconds=0")
        assert (answer.status, answer.closes) == (200, True)
        assert connection.ends()
    assert service.ended() == 0


def test_pipelined_requests_before_the_drain_are_answered(serve: Start) -> None:
    service = serve("tests.apps.requests")
    with service.connect() as connection:
        connection.ask("/slow?seconds=0.5")
        service.busy(1)
        service.drain()
        assert connection.response().closes
        assert connection.ends()
    assert service.ended() == 0


def test_a_late_websocket_is_served_and_then_told(serve: Start) -> None:
    service = serve(**FLOOR)
    service.drain()
    with connect(f"ws://{HOST}:{service.port}/echo") as websocket:
        websocket.send("late")
        assert websocket.recv() == "late"
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=PATIENCE)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
    assert service.ended() == 0
    assert service.report["streams_ended"] == 1


def test_each_late_request_puts_the_end_off(serve: Start) -> None:
    """As long as somebody sends, some router has not heard of the stop."""
    service = serve(APP_SHUTDOWN__QUIET_SECONDS="2")
    assert service.get("/hello").status == 200
    service.drain()
    until = time.monotonic() + 4
    last = time.monotonic()
    while last < until:
        assert service.get("/hello").status == 200
        last = time.monotonic()
        time.sleep(0.1)  # the pace of the client, well below quiet
    assert service.ended() == 0
    assert service.report["seconds"]["draining"] > 4


def test_the_limit_ends_even_a_drain_that_is_never_quiet(serve: Start) -> None:
    service = serve(APP_SHUTDOWN__LIMIT_SECONDS="1", APP_SHUTDOWN__QUIET_SECONDS="1")
    assert service.get("/hello").status == 200
    service.drain()

    def refused() -> bool:
        try:
            return service.get("/hello").status != 200
        except ConnectionError:
            return True

    eventually(refused, "the listener to close")
    assert service.ended() == 0
    assert service.report["seconds"]["draining"] < 10


@pytest.mark.parametrize("path", ["/readyz", "/livez"])
def test_probes_on_the_main_port_do_not_hold_it_up(serve: Start, path: str) -> None:
    service = serve(APP_SHUTDOWN__QUIET_SECONDS="1.5", APP_SHUTDOWN__LIMIT_SECONDS="60")
    assert service.get("/hello").status == 200
    service.drain()
    began = time.monotonic()

    def over() -> bool:
        try:
            answer = service.get(path)
        except ConnectionError:
            return True
        assert answer.closes
        assert answer.status == (503 if path == "/readyz" else 200)
        time.sleep(0.1)  # a balancer's period, well below quiet
        return False

    eventually(over, "the listener to close")
    assert time.monotonic() - began < 20
    assert service.ended() == 0
    # The first request may have ended just after the signal; no probe counts.
    assert service.report["requests_served"] <= 1


def test_a_request_that_comes_while_streams_end_puts_the_end_off(serve: Start) -> None:
    quiet = {"APP_SHUTDOWN__QUIET_SECONDS": "1.5", "APP_SHUTDOWN__STREAM_SPREAD_SECONDS": "0"}
    service = serve("tests.apps.streams", **quiet)
    with service.connect() as connection:
        connection.ask("/stubborn")  # its turn lasts a second
        assert connection.head().status == 200
        service.signal()
        service.logged("stop", decided_by="last new request + quiet")
        assert service.get("/docs").status == 200
        asked = time.monotonic()
        while connection.chunk():
            pass
        assert service.ended() == 0
        assert time.monotonic() - asked > 1.5
