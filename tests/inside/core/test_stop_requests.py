"""Requests in flight when the stop comes: finished if they can be, cut and named if not."""

import pytest

from tests.conftest import Start
from tests.harness import eventually


def test_a_request_in_flight_finishes(serve: Start) -> None:
    service = serve("tests.apps.requests")
    with service.connect() as connection:
        connection.ask("/slow?seconds=1")
        service.busy(1)
        service.signal()
        answer = connection.response()
        assert (answer.status, answer.body, answer.closes) == (200, b'"slow"', True)
        assert connection.ends()
    assert service.ended() == 0
    assert service.report["requests_served"] == 1
    assert service.report["requests_cut"] == []


def test_a_request_longer_than_the_limit_is_cut_and_named(serve: Start) -> None:
    service = serve("tests.apps.requests", APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    with service.connect() as connection:
        connection.ask("/slow?seconds=60")
        service.busy(1)
        service.signal()
        answer = connection.response()
        assert (answer.status, answer.closes) == (503, True)
        assert answer.headers["retry-after"] == "1"
        assert connection.ends()
    assert service.ended() == 1
    assert service.seconds() < 20
    assert service.report["exit_code"] == 1
    assert service.report["requests_cut"] == ["GET /slow"]


def test_a_request_that_ignores_its_cancellation_is_left_behind(serve: Start) -> None:
    service = serve("tests.apps.requests", APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    with service.connect() as connection:
        connection.ask("/deaf?seconds=60")
        service.busy(1)
        service.signal()
        assert service.ended() == 1
    assert "GET /deaf" in service.report["cut"]
    (line,) = service.lines("task did not respond to cancellation")
    assert "requests.py" in "".join(line["where"])


def test_a_def_endpoint_finishes(serve: Start) -> None:
    service = serve("tests.apps.requests")
    with service.connect() as connection:
        connection.ask("/thread?seconds=1")
        service.busy(1)
        service.signal()
        answer = connection.response()
        assert (answer.status, answer.body, answer.closes) == (200, b'"thread"', True)
    assert service.ended() == 0


@pytest.mark.parametrize("path", ["/thread", "/pool"])
def test_a_thread_that_does_not_end_is_named_and_left_behind(serve: Start, path: str) -> None:
    service = serve("tests.apps.requests", APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    with service.connect() as connection:
        connection.ask(f"{path}?seconds=60")
        service.busy(1)
        service.signal()
        assert connection.response().status == 503
        assert service.ended() == 1
    assert f"GET {path}" in service.report["requests_cut"]
    assert any(cut.startswith("thread ") for cut in service.report["cut"])
    (stuck,) = service.lines("still running", at="stop", kind="thread")
    where = "requests.py" if path == "/thread" else "concurrent/futures/thread.py"
    assert where in stuck["where"][-1]


def test_background_work_is_waited_for(serve: Start) -> None:
    service = serve()
    answer = service.connect().post("/jobs", b'{"seconds": 1}')
    assert answer.status == 202
    service.signal()
    assert service.ended() == 0
    assert service.lines("job done")
    assert service.report["seconds"]["draining"] > 0.5
    assert service.report["requests_served"] == 1


def test_background_work_longer_than_the_limit_is_cut(serve: Start) -> None:
    service = serve("tests.apps.requests", APP_SHUTDOWN__LIMIT_SECONDS="0.5")
    assert service.get("/background?seconds=60").status == 200
    service.signal()
    assert service.ended() == 1
    assert service.report["requests_cut"] == ["GET /background"]


def test_a_slow_reader_gets_the_whole_answer(serve: Start) -> None:
    service = serve("tests.apps.requests")
    with service.connect() as connection:
        connection.ask("/large?mebibytes=16")
        head = connection.head()
        service.drain()
        sizes = [len(chunk) for chunk in iter(connection.chunk, b"")]
        assert head.status == 200
        assert sum(sizes) == 16 * 1024 * 1024
    assert service.ended() == 0


def test_requests_one_after_the_other_are_all_counted(serve: Start) -> None:
    service = serve("tests.apps.requests", APP_SHUTDOWN__FLOOR_SECONDS="1")
    before = service.connect()
    assert before.get("/slow?seconds=0").status == 200
    service.logged("request")  # written when all of it is over
    service.drain()
    assert before.get("/slow?seconds=0").closes
    for _ in range(4):
        assert service.get("/slow?seconds=0").closes
    assert service.ended() == 0
    assert service.report["requests_served"] == 5
    assert service.report["connections_served"] == 4


def test_a_failing_request_is_answered_and_logged(serve: Start) -> None:
    service = serve("tests.apps.requests")
    assert service.get("/fail", x_request_id="mine").status == 500
    failed = eventually(lambda: [x for x in service.lines() if "LookupError" in str(x)], "its log")
    assert failed[0]["level"] == "error"
    assert failed[0]["request_id"] == "mine"
    service.signal()
    assert service.ended() == 0
