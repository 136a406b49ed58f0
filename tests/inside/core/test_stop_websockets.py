"""WebSockets are closed with 1012, whatever their handler is doing."""

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import Start
from tests.harness import HOST


def close_code(websocket: ClientConnection) -> int | None:
    """Read to the end; the code that the service closed with."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            websocket.recv(timeout=40)
    return closed.value.rcvd.code if closed.value.rcvd else None


@pytest.mark.parametrize("path", ["/receives", "/sends", "/sleeps"])
def test_the_client_is_told_to_come_back(serve: Start, path: str) -> None:
    service = serve("tests.apps.streams")
    with connect(f"ws://{HOST}:{service.port}{path}") as websocket:
        websocket.send("hello")
        assert websocket.recv()
        service.signal()
        assert close_code(websocket) == 1012
    assert service.ended() == 0
    assert service.seconds() < 9
    assert service.report["streams_ended"] == 1
    assert not [line for line in service.lines() if line["level"] == "error"]


def test_a_client_that_does_not_answer_the_close_is_left(serve: Start) -> None:
    service = serve("tests.apps.streams")
    with service.connect() as connection:
        connection.ask(
            "/receives",
            connection="Upgrade",
            upgrade="websocket",
            sec_websocket_version="13",
            sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
        )
        assert connection.head().status == 101
        service.signal()
        assert service.ended() == 0
    assert service.seconds() < 9
    assert service.report["streams_ended"] == 1


def test_sockets_and_event_streams_are_counted_together(serve: Start) -> None:
    service = serve("tests.apps.streams")
    with (
        connect(f"ws://{HOST}:{service.port}/receives") as websocket,
        service.connect() as connection,
    ):
        connection.ask("/starlette")
        connection.head()
        service.signal()
        assert close_code(websocket) == 1012
        while connection.chunk():
            pass
    assert service.ended() == 0
    assert service.report["streams_ended"] == 2
