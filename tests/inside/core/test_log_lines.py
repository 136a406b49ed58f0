"""One JSON object a line, whoever wrote it, with what ties the lines of a request together."""

import re
from datetime import datetime

import pytest

from tests.conftest import Start


def test_every_line_is_an_object_with_time_level_and_event(serve: Start) -> None:
    service = serve("tests.apps.requests")
    service.get("/slow?seconds=0")
    service.get("/fail")
    service.signal()
    service.ended()
    assert len(service.lines()) > 6
    for line in service.lines():
        assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
        assert line["level"] in ("debug", "info", "warning", "error")
        assert line["event"]
        assert line["phase"]


def test_a_request_has_an_access_line_and_a_probe_none(serve: Start) -> None:
    service = serve()
    service.get("/hello?secret=1")
    service.get("/nowhere")
    for path in ("/readyz", "/livez"):
        service.get(path)
    service.signal()
    service.ended()
    assert [(x["method"], x["path"], x["status"]) for x in service.lines("request")] == [
        ("GET", "/hello", 200),
        ("GET", "/nowhere", 404),
    ]
    assert all(line["seconds"] < 30 for line in service.lines("request"))


def test_the_callers_request_id_is_taken_over(serve: Start) -> None:
    service = serve()
    service.connect().post("/jobs", b'{"seconds": 0}', x_request_id="trace/42")
    assert service.logged("job done")["request_id"] == "trace/42"
    assert service.logged("request")["request_id"] == "trace/42"


@pytest.mark.parametrize("given", ["", "a b", 'x","level":"fatal', "x" * 129])
def test_an_id_is_made_where_there_is_no_good_one(serve: Start, given: str) -> None:
    service = serve()
    service.get("/hello", **({"x_request_id": given} if given else {}))
    line = service.logged("request")
    assert re.fullmatch(r"[0-9a-f]{16}", line["request_id"])


def test_each_request_has_an_id_of_its_own(serve: Start) -> None:
    service = serve()
    with service.connect() as connection:
        for _ in range(5):
            connection.get("/hello")
    service.signal()
    service.ended()
    assert len({line["request_id"] for line in service.lines("request")}) == 5


def test_lines_outside_of_a_request_have_no_id(serve: Start) -> None:
    service = serve()
    service.get("/hello")
    service.signal()
    service.ended()
    assert not [x for x in service.lines() if x["event"] != "request" and "request_id" in x]


def test_the_servers_errors_come_the_same_way(serve: Start) -> None:
    service = serve("tests.apps.requests")
    service.get("/fail", x_request_id="mine")
    service.signal()
    assert service.ended() == 0
    (line,) = [x for x in service.lines() if x.get("logger") == "uvicorn.error"]
    assert line["level"] == "error"
    assert line["request_id"] == "mine"
    assert "LookupError: nobody's business" in line["exception"]
    assert service.stderr == ""


def test_errors_that_nobody_can_catch_come_the_same_way(serve: Start) -> None:
    service = serve("tests.apps.outcomes")
    assert service.get("/fails-elsewhere").status == 200
    failed = service.logged("thread failed", thread="forgotten")
    assert "LookupError: lost in a thread" in failed["exception"]
    ignored = service.logged("error in a finalizer", where="Unclosable.__del__")
    assert "LookupError: lost in a finalizer" in ignored["exception"]
    assert service.stderr == ""


def test_a_bad_request_line_is_no_crash(serve: Start) -> None:
    service = serve()
    with service.connect() as connection:
        connection.send(b"GARBAGE\r\n\r\n")
        assert connection.head().status == 400
    assert service.get("/hello").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.stderr == ""


def test_the_access_log_can_be_switched_off(serve: Start) -> None:
    service = serve(APP_LOG__ACCESS="false")
    service.get("/hello")
    service.signal()
    service.ended()
    assert not service.lines("request")


def test_a_higher_level_leaves_the_report(serve: Start) -> None:
    service = serve(APP_LOG__LEVEL="error")
    service.signal()
    service.ended()
    assert [line["event"] for line in service.lines()] == ["stopped"]


def test_console_lines_are_for_people(serve: Start) -> None:
    service = serve(APP_LOG__FORMAT="console")
    service.get("/hello")
    service.signal()
    service.ended()
    *lines, last = service.stdout.splitlines()
    assert not [line for line in lines if line.startswith("{")]
    assert any("200 GET /hello" in line for line in lines)
    assert last.startswith("{"), "the report is an object in any case"
