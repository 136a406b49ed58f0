"""Clients that are silent, slow or too large are closed, at little cost for the service."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.edge import HUGE
from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.wire import Connection

MIB = 1024 * 1024
QUICK = {
    "APP_REQUESTS__HEADER_SECONDS": "1",
    "APP_REQUESTS__STALL_SECONDS": "1",
    "APP_KEEP_ALIVE_SECONDS": "1",
}
PATIENT = {"APP_REQUESTS__HEADER_SECONDS": "60", "APP_KEEP_ALIVE_SECONDS": "60"}
#: Seconds until a limit of one second is enforced on a busy machine.
SOON = 8.0


def memory(service: Service) -> int:
    """Resident bytes."""
    pages = int(Path(f"/proc/{service.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def closed(service: Service, reason: str) -> int:
    """How many connections were closed for ``reason``, by the metrics."""
    name = f'app_connections_closed_total{{reason="{reason}"}} '
    lines = service.probe("metrics").body.decode().splitlines()
    return next(int(line.removeprefix(name)) for line in lines if line.startswith(name))


def lingers(service: Service) -> bool:
    """Whether the kernel still sends what the service has closed (state FIN-WAIT-1)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    sockets = [line.split()[1:4] for line in lines]
    return any(
        local.endswith(f":{service.port:04X}") and state == "04" for local, _, state in sockets
    )


@contextlib.contextmanager
def dripping(client: Connection, data: bytes) -> Iterator[None]:
    """Send ``data`` byte by byte, as often as the service cannot overlook."""
    over = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            for byte in data:
                client.send(bytes([byte]))
                if over.wait(0.1):
                    break

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def ends(client: Connection) -> bool:
    """Whether the service closes from here; a byte that was still under way makes it a reset."""
    try:
        return client.ends()
    except ConnectionResetError:
        return True


def serves_others(service: Service) -> None:
    began = time.monotonic()
    assert service.get("/hello").status == 200
    assert time.monotonic() - began < 4


def test_a_silent_connection_is_closed(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK | {"APP_KEEP_ALIVE_SECONDS": "60"})
    began = time.monotonic()
    with service.connect() as client:
        serves_others(service)
        assert client.ends()
    assert 1 < time.monotonic() - began < SOON
    assert closed(service, "silent") == 1


@pytest.mark.parametrize("first", [b"GET /hello?x=", b"GET /hello HTTP/1.1\r\nx: "])
def test_a_head_byte_by_byte_is_not_extended(serve: Start, first: bytes) -> None:
    service = serve("tests.apps.edge", **QUICK | {"APP_KEEP_ALIVE_SECONDS": "60"})
    with service.connect() as client:
        began = time.monotonic()
        client.send(first)
        with dripping(client, b"x" * 1000):
            serves_others(service)
            response = client.response()
        assert 0.9 < time.monotonic() - began < SOON
    assert (response.status, response.closes) == (408, True)
    assert json.loads(response.body)["status"] == 408
    assert closed(service, "header") == 1
    assert service.logged("closed connections of slow clients")["header"] == 1


def test_half_a_request_line_is_answered_408(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK)
    with service.connect() as client:
        assert client.get("/hello").status == 200
        client.send(b"GET /hel")
        assert client.response().status == 408
        assert client.ends()


@pytest.mark.parametrize("path", ["/body", "/model"])
def test_a_body_byte_by_byte_is_answered_408(serve: Start, path: str) -> None:
    service = serve("tests.apps.edge", **QUICK)
    with service.connect() as client:
        client.send(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 10000\r\n\r\n".encode())
        with dripping(client, b"x" * 1000):
            serves_others(service)
            assert client.response().status == 408
        assert ends(client)
    assert closed(service, "body") == 1
    line = service.logged("request", path=path)
    assert (line["status"], line["ended_by"]) == (408, "slow body")
    assert service.status()["in_flight"] == 0
    assert "client gone" not in service.status()["requests_cancelled"]
    assert not service.lines(level="error")


def test_a_body_that_keeps_the_rate_is_taken(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK, APP_REQUESTS__LEAST_RATE="5")
    with service.connect() as client:
        client.send(b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 41\r\n\r\nx")
        with dripping(client, b"x" * 40):
            assert client.response().body == b"41"


def test_the_handlers_own_time_is_not_the_clients(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK)
    with service.connect() as large, service.connect() as small, service.connect() as asks:
        large.ask("/late?seconds=4", "POST", b"x" * MIB)
        asks.send(b"POST /late?seconds=4 HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n")
        asks.send(b"content-length: 2\r\n\r\n")
        small.ask("/slow?seconds=4")
        assert large.response().body == str(MIB).encode()
        assert asks.head().status == 100
        asks.send(b"xx")
        assert asks.response().body == b"2"
        assert small.response().status == 200


def test_a_body_nobody_reads_must_keep_the_rate_too(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK)
    with service.connect() as client:
        client.send(b"POST /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: 10000\r\n\r\n")
        assert client.response().status == 404
        with dripping(client, b"x" * 1000):
            eventually(lambda: closed(service, "body") == 1, "the connection to be closed")


def test_a_response_gives_the_rest_of_a_body_no_more_time(serve: Start) -> None:
    times = {"APP_REQUESTS__STALL_SECONDS": "6", "APP_REQUESTS__TIMEOUT_SECONDS": "4"}
    service = serve("tests.apps.edge", **QUICK | times)
    with service.connect() as client:
        client.send(b"POST /body HTTP/1.1\r\nhost: a\r\ncontent-length: 10000\r\n\r\n")
        began = time.monotonic()
        assert client.response().status == 504
        eventually(lambda: closed(service, "body") == 1, "the connection to be closed")
        assert time.monotonic() - began < 9


def test_an_idle_connection_is_closed(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK | {"APP_REQUESTS__HEADER_SECONDS": "60"})
    with service.connect() as client:
        for _ in range(3):
            assert client.get("/hello").status == 200
        began = time.monotonic()
        assert client.ends()
        assert 0.9 < time.monotonic() - began < SOON
    assert closed(service, "idle") == 1
    assert not service.lines("closed connections of slow clients")


@pytest.mark.parametrize(("path", "status"), [("/huge", 499), ("/events", 200)])
def test_a_client_that_does_not_read_is_closed(serve: Start, path: str, status: int) -> None:
    service = serve("tests.apps.edge", **QUICK)
    serves_others(service)
    before = memory(service)
    with service.connect() as client:
        client.ask(path)
        eventually(lambda: closed(service, "write") == 1, "the connection to be closed")
        eventually(lambda: not lingers(service), "the kernel to forget the response")
        serves_others(service)
        assert memory(service) - before < HUGE / 4
        eventually(lambda: service.status()["in_flight"] == 0, "the handler to end")
        eventually(lambda: service.status()["streams"] == 0, "the stream to end")
    line = service.logged("request", path=path)
    assert (line["status"], line["ended_by"]) == (status, "slow reader")


def test_an_endless_response_does_not_outlive_its_client(serve: Start) -> None:
    service = serve("tests.apps.edge")
    with service.connect() as client:
        client.ask("/endless")
        client.head()
        assert client.chunk()
    eventually(lambda: service.status()["in_flight"] == 0, "the handler to end")
    serves_others(service)


def test_what_is_left_for_it_is_dropped(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK)
    with socket.create_connection((HOST, service.port), timeout=20) as client:
        client.sendall(b"GET /huge HTTP/1.1\r\nhost: a\r\n\r\n")
        service.logged("closed connections of slow clients")
        with pytest.raises(ConnectionResetError):
            while client.recv(262144):
                pass


def test_a_slow_reader_is_served(serve: Start) -> None:
    """It takes less than is buffered for it, but more than the least."""
    service = serve("tests.apps.edge", **QUICK | {"APP_REQUESTS__STALL_SECONDS": "3"})
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.settimeout(20)
        client.connect((HOST, service.port))
        client.sendall(b"GET /huge HTTP/1.1\r\nhost: a\r\n\r\n")
        ends = time.monotonic() + 6
        read = 0
        while time.monotonic() < ends:
            read += len(client.recv(262144))
            time.sleep(0.2)
        while read < HUGE:
            part = client.recv(262144)
            assert part, f"closed after {read} bytes"
            read += len(part)


def test_a_quiet_stream_is_left_alone(serve: Start) -> None:
    service = serve("tests.apps.edge", **QUICK)
    with service.connect() as client:
        client.ask("/quiet")
        client.head()
        assert client.chunk() == b"data: 1\n\n"
        assert client.chunk() == b"data: 2\n\n"


def test_more_connections_than_allowed_are_closed(serve: Start) -> None:
    service = serve("tests.apps.edge", **PATIENT, APP_REQUESTS__MAX_CONNECTIONS="3")
    clients = [service.connect() for _ in range(3)]
    assert [client.get("/hello").status for client in clients] == [200] * 3
    with pytest.raises(ConnectionError):
        service.get("/hello")
    assert [client.get("/hello").status for client in clients] == [200] * 3


@pytest.mark.parametrize("settings", [PATIENT, QUICK])
def test_a_stop_takes_no_longer_and_loses_nothing(serve: Start, settings: dict[str, str]) -> None:
    service = serve("tests.apps.edge", **settings)
    with service.connect() as silent, service.connect() as half, service.connect() as busy:
        half.send(b"GET /hel")
        assert silent.get("/hello").status == 200
        busy.ask("/slow?seconds=2")
        service.busy(1)
        service.signal()
        assert busy.response().status == 200
        assert service.ended() == 0
    assert service.report["cut"] == []
    assert service.report["seconds"]["total"] < 10
