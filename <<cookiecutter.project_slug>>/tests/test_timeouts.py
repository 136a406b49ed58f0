"""Requests whose time is over, or whose client has left, are cancelled."""

import json

from tests.conftest import Start
from tests.harness import eventually


def test_an_overdue_request_gets_504_and_its_connection_goes_on(serve: Start) -> None:
    service = serve("tests.application")
    with service.connect() as connection:
        connection.ask("/slow?seconds=30", x_request_timeout="0.2", x_request_id="mine")
        answer = connection.response()
        assert answer.status == 504
        assert json.loads(answer.body)["request_id"] == "mine"
        assert connection.get("/hello").status == 200
    assert service.logged("request", status=504)["ended_by"] == "deadline"


def test_a_request_whose_client_has_left_is_cancelled(serve: Start) -> None:
    service = serve("tests.application")
    with service.connect() as connection:
        connection.ask("/slow?seconds=30")
        eventually(lambda: service.status()["in_flight"] == 1, "the request to be in flight")
    eventually(
        lambda: service.status()["requests_cancelled"] == {"client gone": 1}, "its cancellation"
    )
    assert service.logged("request", status=499)["ended_by"] == "client"


def test_an_overdue_thread_is_counted_until_it_ends(serve: Start) -> None:
    service = serve("tests.application")
    with service.connect() as connection:
        connection.ask("/thread?seconds=6", x_request_timeout="0.2")
        assert connection.response().status == 504
    eventually(lambda: service.status().get("overdue_threads"), "the thread to be named")
    eventually(lambda: not service.status().get("overdue_threads"), "the thread to end")
