"""WebSockets are not requests: pings tell whether their clients are there."""

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.conftest import Start
from tests.harness import HOST, eventually
from tests.test_edge import QUICK, closed, serves_others
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
