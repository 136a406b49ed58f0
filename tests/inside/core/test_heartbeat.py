"""A quiet event stream has a heartbeat, and ends like any other."""

import pytest

from tests.conftest import Start
from tests.harness import Service
from tests.wire import Connection

APP = "tests.apps.streams"
HELLO, HEARTBEAT = b"data: hello\n\n", b": \n\n"


def stream(service: Service, query: str) -> Connection:
    """A stream that has had its first event."""
    client = service.connect()
    client.ask(f"/heartbeat?{query}")
    assert client.head().status == 200
    assert client.chunk() == HELLO
    return client


@pytest.mark.parametrize(("says", "last"), [("", []), ("goodbye", [b"data: goodbye\n\n"])])
def test_it_beats_until_the_stop(serve: Start, says: str, last: list[bytes]) -> None:
    service = serve(APP)
    client = stream(service, f"seconds=0.2&says={says}")
    assert [client.chunk() for _ in range(3)] == [HEARTBEAT] * 3
    service.drain()
    rest = list(iter(client.chunk, b""))
    assert [chunk for chunk in rest if chunk != HEARTBEAT] == last
    assert client.ends()
    assert service.ended() == 0
    assert service.report["streams_ended"] == 1
    assert service.seconds() < 9
    assert not service.lines(level="error")


def test_it_does_not_beat_between_events_or_when_it_is_off(serve: Start) -> None:
    service = serve(APP)
    for seconds in (0, 30):
        client = stream(service, f"seconds={seconds}&says=goodbye")
        ended = stream(service, f"seconds={seconds}&says=end")
        assert ended.chunk() == b""
        service.status()
        client.close()
    service.drain()
    assert service.ended() == 0


def test_an_error_of_the_handler_is_its_error(serve: Start) -> None:
    service = serve(APP)
    client = stream(service, "seconds=30&says=error")
    with pytest.raises(ConnectionResetError):
        client.chunk()
    error = service.logged("Exception in ASGI application\n")
    assert "LookupError: no more" in str(error)
    assert "never retrieved" not in service.stdout


def test_its_client_may_leave(serve: Start) -> None:
    service = serve(APP)
    stream(service, "seconds=0.2").close()
    service.logged("request", path="/heartbeat", ended_by="client")
    service.drain()
    assert service.ended() == 0
    assert service.report["cut"] == []
