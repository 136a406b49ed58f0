"""WebSockets are not requests: pings tell whether their clients are there."""

import contextlib
import time

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.sync.client import connect

from tests.conftest import Start
from tests.harness import HOST, eventually
from tests.test_edge import QUICK, closed, serves_others
from tests.test_stop_websockets import close_code
from tests.wire import Connection

PINGS = {"APP_WEBSOCKETS__PING_SECONDS": "1", "APP_WEBSOCKETS__PONG_SECONDS": "1"}


def upgrade(client: Connection, path: str) -> int:
    """Ask for a WebSocket; the status of the answer."""
    client.ask(
        path,
        upgrade="websocket",
        connection="upgrade",
        sec_websocket_version="13",
        sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
    )
    return client.head().status


def test_a_quiet_websocket_is_left_alone(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK)
    with service.connect() as client:
        assert upgrade(client, "/ws") == 101
        with service.connect() as other:
            assert other.ends()  # a silent one, opened later
        assert service.status()["streams"] == 1
    assert closed(service, "idle") + closed(service, "header") == 0


def test_a_client_without_pongs_is_closed(serve: Start) -> None:
    service = serve("tests.apps.edge", **PINGS)
    with service.connect() as client:
        assert upgrade(client, "/ws") == 101
        eventually(lambda: service.status()["streams"] == 0, "the WebSocket to end")


def test_a_client_that_does_not_read_is_closed(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK, **PINGS)
    with service.connect() as client:
        assert upgrade(client, "/flood") == 101
        serves_others(service)
        eventually(lambda: service.status()["streams"] == 0, "the WebSocket to end")
    assert closed(service, "write") == 1


def test_a_large_message_closes_the_websocket(serve: Start) -> None:
    service = serve("tests.apps.edge", APP_WEBSOCKETS__MESSAGE_BYTES="1000")
    with connect(f"ws://{HOST}:{service.port}/ws", compression=None) as client:
        client.send("x" * 1000)
        assert client.recv() == "x" * 1000
        client.send("x" * 1001)
        with pytest.raises(ConnectionClosedError) as closing:
            client.recv()
    assert closing.value.rcvd is not None
    assert closing.value.rcvd.code == 1009


def test_one_more_than_allowed_is_refused(serve: Start) -> None:
    service = serve("tests.apps.edge", APP_WEBSOCKETS__MAX_OPEN="1")
    with service.connect() as first, service.connect() as second:
        assert upgrade(first, "/ws") == 101
        assert upgrade(second, "/ws") == 503
        serves_others(service)
    eventually(lambda: service.status()["streams"] == 0, "the WebSocket to end")
    with service.connect() as third:
        assert upgrade(third, "/ws") == 101
        serves_others(service)


@pytest.mark.parametrize("path", ["/receives", "/sleeps"])
def test_an_idle_one_is_closed(serve: Start, path: str) -> None:
    service = serve("tests.apps.streams", APP_WEBSOCKETS__IDLE_SECONDS="1", **PINGS)
    with connect(f"ws://{HOST}:{service.port}{path}") as websocket:
        if path == "/receives":
            websocket.send("hello")
        assert websocket.recv()
        began = time.monotonic()
        assert close_code(websocket) == 1001
        assert time.monotonic() - began > 0.5
    line = service.logged("request", path=path)
    assert (line["status"], line["ended_by"]) == (101, "idle")
    assert service.status()["streams"] == 0
    assert not service.lines(level="error")


def test_messages_in_either_direction_keep_it_open(serve: Start) -> None:
    service = serve("tests.apps.streams", APP_WEBSOCKETS__IDLE_SECONDS="2")
    address = f"ws://{HOST}:{service.port}"
    with connect(f"{address}/receives") as talks, connect(f"{address}/sends") as hears:
        for _ in range(2):
            with connect(f"{address}/receives") as idle, pytest.raises(ConnectionClosed):
                while True:
                    talks.send("x")
                    assert talks.recv() == "x"
                    with contextlib.suppress(TimeoutError):
                        idle.recv(timeout=0.1)
        assert hears.recv() == "tick"
        assert service.status()["streams"] == 2
        service.drain()
        assert (close_code(talks), close_code(hears)) == (1012, 1012)
    assert service.ended() == 0
    assert service.report["streams_ended"] == 2
