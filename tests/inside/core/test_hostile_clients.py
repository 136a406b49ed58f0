"""Nobody on the network keeps the kubelet from its answers, or the pod from its stop."""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import HOST, PATIENCE, Service
from tests.wire import Connection

MIB = 1024 * 1024
#: Seconds for a probe on a busy machine: less than whoever says nothing may stay for.
PROMPT = 4.0


@contextlib.contextmanager
def crowd(port: int, number: int, sends: bytes = b"") -> Iterator[list[socket.socket]]:
    """So many connections, each of which sends this; some may be closed by the service."""
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(number):
            one = stack.enter_context(socket.create_connection((HOST, port), timeout=20))
            with contextlib.suppress(ConnectionError):
                one.sendall(sends)
            sockets.append(one)
        yield sockets


def memory(service: Service) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def answers_promptly(service: Service) -> None:
    for name in ("livez", "readyz"):
        began = time.monotonic()
        assert service.probe(name).status == 200
        assert time.monotonic() - began < PROMPT


def test_an_endless_header_is_refused(serve: Start) -> None:
    service = serve()
    before = memory(service)
    with Connection(HOST, service.management_port) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nx: " + b"x" * 10_000)
        assert connection.response().status == 431
    with socket.create_connection((HOST, service.management_port)) as endless:
        endless.settimeout(5)
        endless.sendall(b"GET /livez HTTP/1.1\r\nx: ")
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(1000):
                endless.sendall(b"x" * 65536)
    answers_promptly(service)
    assert memory(service) - before < 5 * MIB


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /livez HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello", 413),
        (b"GET /livez HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", 413),
        (b"POST /livez HTTP/1.1\r\n\r\n", 405),
        (b"\x16\x03\x01 no HTTP at all\r\n\r\n", 400),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", 200),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\n\r\n" * 20, 200),
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
    ],
)
def test_the_management_port_answers_one_request(
    serve: Start, request_: bytes, status: int
) -> None:
    service = serve()
    with Connection(HOST, service.management_port) as connection:
        connection.send(request_)
        response = connection.response()
        assert response.status == status
        assert response.closes
        assert connection.ends()
    assert "Traceback" not in service.stdout + service.stderr


def test_a_head_request_has_no_body(serve: Start) -> None:
    service = serve()
    with Connection(HOST, service.management_port) as connection:
        connection.ask("/livez", "HEAD")
        head = connection.head()
        assert (head.status, head.headers["content-length"]) == (200, "3")
        assert connection.ends()


def test_whoever_says_nothing_is_closed_after_5_s(serve: Start) -> None:
    service = serve()
    began = time.monotonic()
    with socket.create_connection((HOST, service.management_port), timeout=20) as idle:
        idle.sendall(b"GET /livez HTT")
        with contextlib.suppress(ConnectionResetError):
            assert idle.recv(1) == b""
    assert 4 < time.monotonic() - began < 30


def test_the_oldest_idle_connection_makes_room(serve: Start) -> None:
    service = serve()
    with crowd(service.management_port, 70) as sockets:
        sockets[0].settimeout(4)
        with contextlib.suppress(ConnectionResetError):
            assert sockets[0].recv(1) == b""
        sockets[-1].sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        assert sockets[-1].recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("which", ["port", "management_port"])
def test_a_thousand_connections_hold_up_no_probe(serve: Start, which: str) -> None:
    service = serve()
    answers_promptly(service)
    before = memory(service)
    with crowd(getattr(service, which), 1000, b"GET /hello HTTP/1.1\r\nx: " + b"x" * 500):
        answers_promptly(service)
        assert memory(service) - before < 16 * MIB
        service.signal()
        assert service.ended() in (0, 1)


@pytest.mark.parametrize("which", ["port", "management_port"])
def test_idle_connections_leave_descriptors_to_probes_and_the_stop(
    start: Start, which: str
) -> None:
    service = start("tests.apps.few_descriptors", LIMIT="80").ready()
    with crowd(getattr(service, which), 150):
        answers_promptly(service)
        hook = service.prestop()
        assert hook.wait(PATIENCE) == 0
        assert service.ended() == 0
    if which == "port":
        assert len(service.lines("connection limit reached: closing new connections")) == 1


# -- the control socket -----------------------------------------------------------------


def control(service: Service) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    one.connect(service.environment["APP_CONTROL_SOCKET"])
    one.settimeout(20)
    return one


def test_a_long_line_on_the_control_socket_is_no_command(serve: Start) -> None:
    service = serve()
    with control(service) as client, contextlib.suppress(ConnectionError):
        client.sendall(b"x" * 200_000 + b"\n")
        assert b"unknown command" in client.recv(100)
    assert service.prestop().wait(PATIENCE) == 0
    assert service.ended() == 0
    assert "Traceback" not in service.stdout + service.stderr


def test_idle_clients_of_the_control_socket_delay_nothing(serve: Start) -> None:
    service = serve()
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(control(service)) for _ in range(300)]
        with contextlib.suppress(ConnectionResetError):
            assert clients[0].recv(1) == b""  # of 300 the oldest made room
        assert service.prestop().wait(PATIENCE) == 0
        assert service.ended() == 0
    (stopped,) = service.lines("phase", phase="stopped")
    (report,) = service.lines("stopped")
    begin, end = (datetime.fromisoformat(line["timestamp"]) for line in (stopped, report))
    assert (end - begin).total_seconds() < 0.9


def test_hooks_wait_side_by_side_for_one_drain(serve: Start) -> None:
    # Time for the last of them to start on a busy machine: a hook that finds no service fails.
    service = serve(APP_SHUTDOWN__FLOOR_SECONDS="4", APP_SHUTDOWN__LIMIT_SECONDS="20")
    hooks = [service.prestop() for _ in range(5)]
    assert [hook.wait(PATIENCE) for hook in hooks] == [0] * 5
    assert service.ended() == 0


def test_a_client_that_says_nothing_is_closed(serve: Start) -> None:
    service = serve()
    with control(service) as client:
        began = time.monotonic()
        assert client.recv(1) == b""
        assert 4 < time.monotonic() - began < 30
