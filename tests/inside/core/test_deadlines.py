"""Requests whose time is over, or whose client has left, are cancelled and leave nothing."""

import asyncio
import json
import random
import time
from typing import Any

import pytest

from app.lifecycle import deadline
from app.lifecycle.http.deadlines import wanted_by_caller
from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.wire import Connection, Response

APP = "tests.apps.deadlines"
SOON = {"APP_REQUESTS__TIMEOUT_SECONDS": "0.3"}
#: Longer than any deadline of these tests.
LONG = "seconds=30"


def problem(answer: Response) -> dict[str, Any]:
    """What a response says that is a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.body)
    assert found["status"] == answer.status
    assert found["type"] == "about:blank"
    return found


def ends(service: Service) -> dict[str, int]:
    found: dict[str, int] = json.loads(service.get("/ends").body)
    return found


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


# -- who sets it -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 9),
        ({"x_request_timeout": "2.5"}, 2.5),
        ({"x_request_timeout": "100"}, 9),
        ({"prefer": "respond-async, wait=4"}, 4),
        ({"grpc_timeout": "3500m"}, 3.5),
        ({"x_envoy_expected_rq_timeout_ms": "1500"}, 1.5),
        ({"grpc_timeout": "7S", "prefer": "wait=3"}, 3),
        ({"x_request_timeout": "soon"}, 9),
        ({"x_request_timeout": "-1"}, 9),
        ({"x_request_timeout": "0"}, 9),
        ({"x_request_timeout": "nan"}, 9),
        ({"grpc_timeout": "5"}, 9),
        ({"prefer": "awaits=1"}, 9),
    ],
)
@pytest.mark.parametrize("path", ["/plain?seconds=0", "/thread?seconds=0", "/to-thread"])
def test_the_shortest_of_all_counts(
    shared: Service, path: str, headers: dict[str, str], seconds: float
) -> None:
    left = float(shared.get(path, **headers).body)
    assert seconds - 2 < left <= seconds


@pytest.fixture(scope="module")
def shared() -> Any:
    from tests.harness import running

    with running(APP, APP_REQUESTS__TIMEOUT_SECONDS="9") as service:
        yield service.ready()


def test_a_route_that_needs_longer(serve: Start) -> None:
    service = serve(APP, **SOON)
    answer = service.get("/unlimited?seconds=1")
    assert (answer.status, answer.body) == (200, b'"inf"')


def test_a_drain_shortens_it(serve: Start) -> None:
    service = serve(APP, APP_SHUTDOWN__LIMIT_SECONDS="5", APP_REQUESTS__TIMEOUT_SECONDS="")
    with service.connect() as connection:
        assert json.loads(service.get("/plain?seconds=0").body) > 3
        connection.ask("/unlimited?seconds=1.5")
        service.busy(1)
        service.drain()
        assert 2 < float(json.loads(connection.response().body)) <= 4
    assert service.ended() == 0


@pytest.mark.parametrize(
    ("limit", "timeout", "left"), [("7", "", 7), ("7", "3", 3), ("7", "0", float("inf"))]
)
def test_the_default_is_what_a_stop_would_give(
    serve: Start, limit: str, timeout: str, left: float
) -> None:
    service = serve(APP, APP_SHUTDOWN__LIMIT_SECONDS=limit, APP_REQUESTS__TIMEOUT_SECONDS=timeout)
    body = service.get("/to-thread").body
    found = float("inf") if body == b"null" else float(body)
    assert left - 2 < found <= left or found == left


def test_a_default_above_the_limit_is_refused(start: Start) -> None:
    service = start(APP, APP_SHUTDOWN__LIMIT_SECONDS="7", APP_REQUESTS__TIMEOUT_SECONDS="8")
    assert service.ended() != 0
    assert (
        "APP_REQUESTS__TIMEOUT_SECONDS=8 is above APP_SHUTDOWN__LIMIT_SECONDS=7" in service.stderr
    )


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("grpc-timeout", "99999999H", 99999999 * 3600),
        ("grpc-timeout", "1n", 1e-9),
        ("grpc-timeout", "100000000S", None),
        ("prefer", 'wait="10"', 10),
        ("prefer", "wait=10; x=1", 10),
        ("prefer", "wait = 10", 10),
        ("x-request-timeout", "1e3", None),
        ("x-request-timeout", "1" * 400, None),
    ],
)
def test_what_callers_may_write(name: str, value: str, seconds: float | None) -> None:
    found = wanted_by_caller([(name.encode(), value.encode())])
    assert found == (float("inf") if seconds is None else seconds)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_route_without_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="must be above 0 seconds"):
        deadline.timeout(seconds)


def test_outside_of_a_request() -> None:
    assert deadline.remaining() == float("inf")
    assert not deadline.expired()
    assert deadline.reason() == ""
    deadline.raise_if_expired()


# -- clients that leave ------------------------------------------------------------------------


def test_a_client_that_leaves_ends_its_request(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask(f"/plain?{LONG}")
        service.busy(1)
    eventually(lambda: ends(service) == {"plain: client gone": 1}, "the cancellation")
    line = service.logged("request", path="/plain")
    assert (line["status"], line["ended_by"]) == (499, "client")
    assert (
        'app_requests_cancelled_total{cause="client gone"} 1'
        in service.probe("metrics").body.decode()
    )


def test_but_not_work_that_must_finish(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask("/finishes?seconds=1")
        service.busy(1)
    eventually(lambda: ends(service) == {"plain: done": 1}, "the work")


# -- threads -----------------------------------------------------------------------------------


def test_overdue_threads_are_bounded_and_named(serve: Start) -> None:
    service = serve(APP, **SOON)
    connections = [service.connect() for _ in range(60)]
    for connection in connections:
        connection.ask("/held")
    assert {connection.response().status for connection in connections} == {504}
    status = eventually(lambda: (s := service.status())["overdue_threads"] >= 40 and s, "the count")
    assert status["overdue_threads"] <= 41
    assert any("held_thread" in line for stack in status["busy_threads"].values() for line in stack)
    assert {service.get("/held").status for _ in range(5)} == {504}
    assert service.status()["overdue_threads"] == status["overdue_threads"], "no thread for these"
    service.get("/release")
    eventually(lambda: service.status()["overdue_threads"] == 0, "the threads to end")
    assert service.get("/held").status == 200
    assert service.status()["busy_threads"] == {}


# -- all together ------------------------------------------------------------------------------


async def ask_at_random(service: Service, dice: random.Random) -> str:
    """A request of a random kind that its deadline or its client ends; what its client saw."""
    path = dice.choice(["/plain?", "/group?", "/anyio?", "/thread?", "/download?count=99&"])
    seconds = dice.choice([0.0, 0.2, 30.0]) if "thread" not in path else 0.2
    reader, writer = await asyncio.open_connection(HOST, service.port)
    wanted = dice.uniform(0.05, 0.4)
    head = f"GET {path}seconds={seconds} HTTP/1.1\r\nhost: x\r\nx-request-timeout: {wanted:.3f}"
    writer.write(f"{head}\r\n\r\n".encode())
    leaves = dice.random() < 0.4
    try:
        async with asyncio.timeout(dice.uniform(0, 0.3) if leaves else 20):
            return (await reader.readline())[9:12].decode()
    except TimeoutError:
        return "left"
    finally:
        writer.transport.abort()


def test_nothing_is_left_over_by_two_thousand_of_them(serve: Start) -> None:
    service = serve(APP, APP_LOG__ACCESS="false")
    dice = random.Random(0)

    async def all_of_them() -> list[str]:
        gate = asyncio.Semaphore(50)

        async def one() -> str:
            async with gate:
                return await ask_at_random(service, dice)

        return await asyncio.gather(*(one() for _ in range(2000)))

    seen = asyncio.run(all_of_them())
    assert set(seen) == {"200", "504", "left"}
    eventually(lambda: service.status()["in_flight"] == 0, "all requests to end")
    status = eventually(
        lambda: (s := service.status())["overdue_threads"] == 0 and s, "the threads"
    )
    assert status["tasks"] == []
    metrics = service.probe("metrics").body.decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in metrics if not line.startswith("#"))
    eventually(
        lambda: "app_connections_open 0" in service.probe("metrics").body.decode(),
        "the connections",
    )
    cancelled = status["requests_cancelled"]
    assert cancelled["deadline"] >= seen.count("504")
    assert set(cancelled) == {"deadline", "client gone"}
    assert values["app_threads_overdue"] == "0"
    found = ends(service)
    assert not [name for name in found if name.endswith("failed")], found
    with Connection(HOST, service.port) as connection:
        assert connection.get("/plain?seconds=0").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.report["cut"] == []


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


def test_a_call_takes_no_longer_and_tells_how_long(serve: Start) -> None:
    service = serve(APP)
    with service.connect() as connection:
        connection.ask("/call", x_request_timeout="20")
        found = json.loads(connection.response().body)
        assert 5 < float(found["told"]) < 20
        assert set(found["limits"]) == {"connect", "read", "write", "pool"}
        assert all(5 < seconds < 20 for seconds in found["limits"].values())
        unlimited = json.loads(connection.get("/call").body)
        assert unlimited["told"] is None
        assert set(unlimited["limits"].values()) == {60}


def test_the_example_calls_another_route_with_the_rest_of_its_time(serve: Start) -> None:
    service = serve("")
    assert json.loads(service.get("/relay?seconds=0.1").body) == {"slept": 0.1}
    with service.connect() as connection:
        connection.ask("/relay?seconds=30", x_request_timeout="0.4")
        assert connection.response().status == 504
    assert not service.lines(level="error")
    # By its own deadline or because its client has left, whichever is first.
    eventually(lambda: service.status()["requests_cancelled"], "the called route to be cancelled")
