"""A line for each request says who asked, what came of it and who ended it."""

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.conftest import Start
from tests.harness import HOST, Service, eventually

#: A line break that forges a line, an escape sequence, and text that runs from right to left.
FORGED = "/a%0Aforged%1B%5B2J%C2%9B%E2%80%AEb"


def url(service: Service, path: str) -> str:
    return f"ws://{HOST}:{service.port}{path}"


def test_it_says_who_asked_and_how_much_was_sent(serve: Start) -> None:
    service = serve()
    answer = service.get("/hello", user_agent='probe/1 "quoted"')
    line = service.logged("request")
    assert line["client"] == HOST
    assert line["user_agent"] == 'probe/1 "quoted"'
    assert line["protocol"] == "HTTP/1.1"
    assert line["bytes"] == len(answer.body) > 0
    assert "ended_by" not in line


def test_the_client_is_the_one_that_a_trusted_proxy_tells_of(serve: Start) -> None:
    trust = {"APP_PROXY__TRUSTED": HOST, "APP_PROXY__HEADERS": "for"}
    service = serve(**trust)
    service.get("/hello", x_forwarded_for="203.0.113.7")
    assert service.logged("request")["client"] == "203.0.113.7"


def test_a_client_that_leaves_before_its_answer_is_499(serve: Start) -> None:
    service = serve("tests.apps.outcomes")
    with service.connect() as connection:
        connection.ask("/slow?seconds=3")
        service.busy(1)
    line = service.logged("request", path="/slow")
    assert (line["status"], line["ended_by"]) == (499, "client")


def test_a_client_that_leaves_a_stream_is_nothing_unusual(serve: Start) -> None:
    service = serve("tests.apps.outcomes")
    with service.connect() as connection:
        connection.ask("/events")
        assert connection.head().status == 200
        assert connection.chunk()
    line = service.logged("request", path="/events")
    assert (line["status"], line["ended_by"]) == (200, "client")
    assert line["bytes"] >= len("data: 0\n\n")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/closes", 403), ("/refuses", 401), ("/breaks", 500), ("/nowhere", 403)],
)
def test_a_refused_websocket_has_the_status_that_its_client_got(
    serve: Start, path: str, status: int
) -> None:
    service = serve("tests.apps.outcomes")
    with pytest.raises(InvalidStatus) as refused, connect(url(service, path)):
        pass
    assert refused.value.response.status_code == status
    line = service.logged("request")
    assert (line["method"], line["path"], line["status"]) == ("WS", path, status)


def test_a_websocket_says_who_ended_it(serve: Start) -> None:
    service = serve("tests.apps.outcomes")
    with connect(url(service, "/echo")) as websocket:
        websocket.send("äöü")
        assert websocket.recv() == "äöü"
        eventually(lambda: service.lines("request"), "the handler to close it")
    with connect(url(service, "/echo")):
        pass
    eventually(lambda: len(service.lines("request")) == 2, "the client to close the other")
    closed, left = service.lines("request")
    assert (closed["status"], closed["bytes"], closed.get("ended_by")) == (101, 6, None)
    assert (left["status"], left["ended_by"]) == (101, "client")


def test_what_is_cut_off_is_named_without_a_traceback(serve: Start) -> None:
    service = serve("tests.apps.outcomes", APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    connections = [service.connect() for _ in range(3)]
    connections[0].ask("/slow?seconds=60")
    connections[1].ask("/fails-when-cut")
    connections[2].ask(
        "/thinks",
        connection="Upgrade",
        upgrade="websocket",
        sec_websocket_version="13",
        sec_websocket_key="AAAAAAAAAAAAAAAAAAAAAA==",
    )
    service.busy(3)
    service.signal()
    assert [connection.head().status for connection in connections] == [503, 503, 503]
    assert service.ended() == 1
    lines = service.lines("request")
    assert {(line["status"], line["ended_by"]) for line in lines} == {(503, "stop")}
    assert len(service.report["requests_cut"]) == len(lines) == 3
    assert "Traceback" not in service.stdout + service.stderr


def test_on_a_terminal_no_client_forges_a_line(serve: Start) -> None:
    service = serve(APP_LOG__FORMAT="console")
    service.get(FORGED)
    service.signal()
    service.ended()
    (line,) = [x for x in service.stdout.split("\n") if "forged" in x]
    assert r"404 GET /a\nforged\x1b[2J\x9b\u202eb" in line
    assert "\x1b[2J" not in service.stdout


def test_nor_with_what_is_logged_on_its_behalf(serve: Start) -> None:
    service = serve("tests.apps.outcomes", APP_LOG__FORMAT="console")
    service.get(f"/tells?text={FORGED}")
    service.signal()
    service.ended()
    lines = [x for x in service.stdout.split("\n") if "forged" in x]
    assert len(lines) == 3, "event and fields, warning, traceback"
    assert not [x for x in lines if x.startswith("forged")]
    assert not set("\x9b\u202e") & set(service.stdout)
    assert "\x1b[2J" not in service.stdout
    assert service.stderr == ""
