"""Requests whose time is over are answered, whatever they were doing."""

import json
import time

import pytest

from tests.conftest import Start
from tests.harness import eventually
from tests.overdue import APP, LONG, SOON, ends, problem

# -- when it passes ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["plain", "route", "group", "anyio", "thread", "stubborn"])
def test_an_overdue_request_is_answered_504(serve: Start, path: str) -> None:
    service = serve(APP, **SOON)
    with service.connect() as connection:
        began = time.monotonic()
        connection.ask(f"/{path}?seconds={3 if path == 'thread' else 30}", x_request_id="mine")
        answer = connection.response()
        if path == "stubborn":  # its own answer, though it was told to end
            assert answer.status == 200
        else:
            assert answer.status == 504
            assert problem(answer)["title"] == "Gateway Timeout"
            assert problem(answer)["request_id"] == "mine"
        assert time.monotonic() - began < 2.5
        assert not answer.closes
        assert connection.get("/ends").status == 200, "the connection is still usable"
    line = service.logged("request", path=f"/{path}")
    assert (line["status"], line["ended_by"]) == (answer.status, "deadline")
    assert service.status()["requests_cancelled"] == {"deadline": 1}


def test_every_part_of_a_request_sees_the_reason(serve: Start) -> None:
    service = serve(APP, **SOON)
    for path in ("plain", "group", "anyio"):
        service.get(f"/{path}?{LONG}")
    assert service.get("/loop").status == 504
    expected = {"plain": 1, "group": 1, "anyio": 1, "child": 3, "loop": 1}
    eventually(
        lambda: ends(service) == {f"{k}: deadline": n for k, n in expected.items()}, "the ends"
    )


def test_the_rest_of_a_body_does_not_spoil_the_connection(serve: Start) -> None:
    service = serve(APP, **SOON)
    with service.connect() as connection:
        connection.send(
            b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + b"x" * 9
        )
        assert connection.response().status == 504
        connection.send(b"x" * 199_991)
        assert connection.get("/ends").status == 200


def test_a_websocket_that_is_not_accepted_in_time(serve: Start) -> None:
    service = serve(APP, **SOON)
    with service.connect() as connection:
        connection.ask(
            "/undecided",
            connection="upgrade",
            upgrade="websocket",
            sec_websocket_version="13",
            sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ==",
        )
        assert connection.response().status == 504
    assert ends(service) == {"undecided: deadline": 1}


@pytest.mark.parametrize("path", ["/download", "/events", "/finite"])
def test_the_default_does_not_end_a_response_that_has_started(serve: Start, path: str) -> None:
    service = serve(APP, **SOON)
    assert service.get(f"{path}?count=20").body == b"data: part\n\n" * 20


def test_a_deadline_that_somebody_set_holds_to_the_last_byte(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask("/download?count=200", x_request_timeout="0.5")
        assert connection.head().status == 200
        with pytest.raises((ConnectionError, ValueError)):  # no last chunk
            while connection.chunk():
                pass
    assert service.logged("request", path="/download")["ended_by"] == "deadline"


def test_streams_have_none(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask("/events?count=20", x_request_timeout="0.2")
        assert connection.response().body == b"data: part\n\n" * 20


def test_background_work_goes_on(serve: Start) -> None:
    service = serve(APP, **SOON)
    assert service.get("/background?seconds=1").status == 200
    eventually(lambda: ends(service) == {"background: done": 1}, "the background work")


def test_spawned_work_drops_or_keeps_it(serve: Start) -> None:
    service = serve(APP, **SOON)
    service.get("/spawn?seconds=0.8&keep=false")
    service.get("/spawn?seconds=30&keep=true")
    eventually(lambda: service.lines("task failed"), "the end of what kept it")
    eventually(lambda: ends(service).get("spawned False: done") == 1, "what dropped it")
    assert ends(service).get("spawned True: deadline") == 1


# -- problem details ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nothing", 404), ("/plain", 422), ("/upload", 405), ("/fails", 500)],
)
def test_every_error_is_a_problem(serve: Start, path: str, status: int) -> None:
    service = serve(APP)
    answer = service.get(path, x_request_id="mine")
    assert answer.status == status
    assert problem(answer)["request_id"] == "mine"
    assert b"secret" not in answer.body
    if status == 422:
        assert problem(answer)["errors"] == [
            {"location": ["query", "seconds"], "message": "Field required"}
        ]


def test_openapi_says_so(serve: Start) -> None:
    document = json.loads(serve(APP).get("/openapi.json").body)
    answers = document["paths"]["/plain"]["get"]["responses"]
    assert set(answers) == {"200", "default"}
    schema = answers["default"]["content"]["application/problem+json"]["schema"]
    name = schema["$ref"].rpartition("/")[2]
    assert {"title", "status", "detail", "request_id"} <= set(
        document["components"]["schemas"][name]["properties"]
    )
