"""SSE and WebSocket clients are told to reconnect, spread over a few seconds."""

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import Start
from tests.harness import HOST
from tests.wire import Connection

APPLICATION = "tests.application"


def open_stream(connection: Connection, path: str) -> None:
    connection.ask(path)
    assert connection.head().status == 200
    assert connection.chunk()


def test_a_stream_ends_with_its_final_chunk(serve: Start) -> None:
    service = serve(APPLICATION)
    with service.connect() as connection:
        open_stream(connection, "/events")
        service.signal()
        while connection.chunk():
            pass
        assert connection.ends()
    assert service.ended() == 0
    assert service.report["streams_ended"] == 1
    assert service.report["cut"] == []


def test_a_handler_may_say_goodbye(serve: Start) -> None:
    service = serve(APPLICATION)
    with service.connect() as connection:
        open_stream(connection, "/goodbye")
        service.signal()
        assert connection.chunk() == b"data: goodbye\n\n"
        assert connection.chunk() == b""
    assert service.ended() == 0


def test_a_websocket_is_closed_with_1012(serve: Start) -> None:
    service = serve(APPLICATION)
    with connect(f"ws://{HOST}:{service.port}/echo") as websocket:
        websocket.send("hello")
        assert websocket.recv() == "hello"
        service.signal()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv(timeout=40)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012, "service restart"
    assert service.ended() == 0


def test_streams_do_not_hold_up_a_drain(serve: Start) -> None:
    """They get a step of their own, with the time of APP_SHUTDOWN__STREAM_SPREAD_SECONDS."""
    service = serve(APPLICATION, APP_SHUTDOWN__LIMIT_SECONDS="30")
    connections = [service.connect() for _ in range(3)]
    for connection in connections:
        open_stream(connection, "/events")
    service.signal()
    assert service.ended() == 0
    assert service.seconds() < 20
    assert service.report["streams_ended"] == 3
