"""What TLS adds to the main port: handshakes that fail or never end, buffers, and closes."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import uvloop
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app.lifecycle.asgi import Receive, Scope, Send
from app.lifecycle.http.certificate import Certificate, Files
from app.lifecycle.http.server import HANDSHAKE, HttpServer
from app.lifecycle.http.tls import TlsPort
from app.lifecycle.ports import bind
from tests.certificates import ANYBODY, Issued, Secret, Secured, issue
from tests.conftest import Start
from tests.harness import HOST, eventually
from tests.scraped import families, samples
from tests.wire import Connection

#: A ClientHello that ends in the middle.
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def issued() -> Issued:
    return issue()


@pytest.fixture
def settings(tmp_path: Path, issued: Issued) -> dict[str, str]:
    return Secret(tmp_path / "secret", issued).settings


def failures(service: object, reason: str) -> float:
    found = samples(families(service))  # type: ignore[arg-type]
    return found["app_tls_handshake_failures_total", frozenset({("reason", reason)})]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_clients_that_check_are_served(
    serve: Start, settings: dict[str, str], issued: Issued, version: ssl.TLSVersion
) -> None:
    service = serve("tests.application", **settings)
    offered = ("h2", "http/1.1")
    with Secured(HOST, service.port, version, trust=issued.certificate, protocols=offered) as one:
        assert one.secured.version() == version.name.replace("v1_", "v1.")
        assert one.secured.selected_alpn_protocol() == "http/1.1"
        for _ in range(3):
            assert one.get("/hello").body == b'"hello"'
        body = bytes(3 * MIB)
        assert one.post("/upload", body).body == str(len(body)).encode()


def test_older_versions_are_refused(serve: Start, settings: dict[str, str]) -> None:
    service = serve(**settings, APP_TLS__MINIMUM_VERSION="1.3")
    with pytest.raises(ssl.SSLError, match=r"(?i)version"):
        Secured(HOST, service.port, ssl.TLSVersion.TLSv1_2)
    assert failures(service, "handshake") == 1


def test_the_application_sees_https(serve: Start, settings: dict[str, str]) -> None:
    service = serve("tests.apps.seen", **settings)
    with Secured(HOST, service.port) as client:
        seen = json.loads(client.get("/seen", x_forwarded_proto="http").body)
    assert seen["url"].startswith("https://")


def test_plain_http_is_told_to_speak_tls(serve: Start, settings: dict[str, str]) -> None:
    service = serve("tests.application", **settings, POD_NAME="web-1")
    for _ in range(2):
        with Connection(HOST, service.port) as plain:
            answer = plain.get("/hello")
            assert (answer.status, answer.closes) == (400, True)
            assert "https" in json.loads(answer.body)["detail"]
            assert answer.headers["x-pod-name"] == "web-1"
            assert plain.ends()
    with Connection(HOST, service.port) as pod:
        assert pod.get("/readyz").headers["x-pod-name"] == "web-1"  # no mistake: see data_plane
    assert failures(service, "plain_http") == 2
    assert len(service.lines("plain HTTP on the port of TLS: its clients must use https")) == 1


@pytest.mark.parametrize("data", [b"\x00\x01\x02", b"\x16\x03\x01\x00\x05hello", b"\x80\x2e\x01"])
def test_nonsense_is_closed_and_counted(
    serve: Start, settings: dict[str, str], data: bytes
) -> None:
    service = serve("tests.application", **settings)
    with socket.create_connection((HOST, service.port), timeout=20) as one:
        one.sendall(data)
        with contextlib.suppress(ConnectionError):
            while one.recv(1000):
                pass
    assert failures(service, "handshake") == 1
    eventually(lambda: service.status()["connections"]["open"] == 0, "no open connection")


@pytest.mark.parametrize("sends", [b"", HALF_A_HELLO])
def test_a_handshake_that_never_ends_counts_and_is_ended(
    serve: Start, settings: dict[str, str], sends: bytes
) -> None:
    limits = {"APP_REQUESTS__HEADER_SECONDS": "1", "APP_REQUESTS__MAX_CONNECTIONS": "3"}
    service = serve("tests.application", **settings, **limits)
    stalled = [socket.create_connection((HOST, service.port), timeout=20) for _ in range(3)]
    for one in stalled:
        one.sendall(sends)
    eventually(lambda: service.status()["connections"]["open"] == 3, "3 open connections")
    with pytest.raises((ssl.SSLError, OSError)):
        Secured(HOST, service.port)
    for one in stalled:
        assert one.recv(1) == b""
        one.close()
    with Secured(HOST, service.port) as client:
        assert client.get("/hello").status == 200


@pytest.mark.parametrize("sends", [b"", HALF_A_HELLO])
def test_a_handshake_that_never_ends_does_not_hold_a_stop(
    serve: Start, settings: dict[str, str], sends: bytes
) -> None:
    service = serve("tests.application", **settings)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            one = stack.enter_context(socket.create_connection((HOST, service.port)))
            one.sendall(sends)
        eventually(lambda: service.status()["connections"]["open"] == 50, "50 open connections")
        service.signal()
        assert service.ended() == 0
        assert service.seconds() < 3


def test_a_client_that_keeps_its_end_open_does_not_hold_a_stop(
    serve: Start, settings: dict[str, str]
) -> None:
    """The event loop's own TLS would wait for its close_notify."""
    service = serve("tests.application", **settings)
    kept = [Secured(HOST, service.port) for _ in range(20)]
    for one in kept:
        one.get("/hello")
    service.signal()
    assert service.ended() == 0
    assert service.report["cut"] == []
    for one in kept:
        assert one.ends()
        one.close()
    began, ended = (
        datetime.fromisoformat(service.lines("phase", phase=phase)[0]["timestamp"])
        for phase in ("stopping", "stopped")
    )
    assert (ended - began).total_seconds() < 0.4


def test_an_answer_is_whole_although_the_connection_closes_after_it(
    serve: Start, settings: dict[str, str]
) -> None:
    """A slow reader takes what the service has long written and closed."""
    service = serve("tests.apps.large", **settings)
    with Secured(HOST, service.port) as slow:
        slow.ask("/large", connection="close")
        time.sleep(1)  # the client's own pace
        assert len(slow.response().body) == 20 * MIB
        assert slow.ends()


def test_a_client_that_does_not_read_is_paused_and_then_ended(
    serve: Start, settings: dict[str, str]
) -> None:
    service = serve("tests.application", **settings, APP_REQUESTS__STALL_SECONDS="1")
    with Secured(HOST, service.port) as client:
        client.ask("/flood")
        closed = ("app_connections_closed_total", frozenset({("reason", "write")}))
        eventually(lambda: samples(families(service))[closed] == 1, "the close of a slow reader")
    sent = service.lines("request", path="/flood")
    assert all(line["bytes"] < 64 * MIB for line in sent)


def test_streams_and_websockets_end_as_their_clients_expect(
    serve: Start, settings: dict[str, str]
) -> None:
    service = serve("tests.application", **settings)
    with (
        Secured(HOST, service.port) as events,
        connect(f"wss://{HOST}:{service.port}/echo", ssl=ANYBODY) as websocket,
    ):
        events.ask("/events")
        assert events.head().status == 200
        assert events.chunk()
        websocket.send("x" * 100_000)
        assert websocket.recv() == "x" * 100_000
        service.signal()
        with pytest.raises(ConnectionClosed) as closed:
            websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        while events.chunk():
            pass
        assert events.ends()
    assert service.ended() == 0


def test_the_end_of_tls_ends_the_connection(serve: Start, settings: dict[str, str]) -> None:
    service = serve("tests.application", **settings)
    client = Secured(HOST, service.port)
    client.get("/hello")
    client.secured.unwrap().close()
    eventually(lambda: service.status()["connections"]["open"] == 0, "no open connection")


def test_a_stop_under_load_loses_nothing(serve: Start, settings: dict[str, str]) -> None:
    """Clients learn 0.4 s late of the stop, as behind kube-proxy, and then use the other pod."""
    leaving, staying = (serve("tests.application", **settings) for _ in range(2))
    ports, lost, served = [leaving.port], list[str](), 0
    over = threading.Event()

    def client(keeps: bool) -> None:
        nonlocal served
        connection: Connection | None = None
        while not over.is_set():
            port = ports[0]
            try:
                if connection is None:
                    connection = Secured(HOST, port)
                answer = connection.get("/slow?seconds=0.01")
            except (OSError, ValueError) as error:
                lost.append(f"{port} {error!r}")
                connection = None
                continue
            served += 1
            if answer.status != 200:
                lost.append(str(answer))
            if answer.closes or not keeps or port != ports[0]:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    clients = [threading.Thread(target=client, args=(n % 2 == 0,)) for n in range(8)]
    for one in clients:
        one.start()
    eventually(lambda: served > 50, "50 answers")
    leaving.signal()
    time.sleep(0.4)  # of the routers
    ports[0] = staying.port
    assert leaving.ended() == 0
    answered = served
    eventually(lambda: served > answered + 50, "50 more answers")
    over.set()
    for one in clients:
        one.join()
    assert lost == []
    assert leaving.report["cut"] == []
    assert leaving.report["requests_served"] > 0


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An application without a framework."""
    if scope["type"] == "lifespan":
        while (kind := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{kind}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


async def ask_over_tls(client: socket.socket) -> bytes:
    """Shake hands and ask on a connection that is open."""

    def ask() -> bytes:
        with ANYBODY.wrap_socket(client) as secured:
            secured.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            return b"".join(iter(lambda: secured.recv(1000), b""))

    return await asyncio.to_thread(ask)


@pytest.fixture
def server(tmp_path: Path, issued: Issued) -> HttpServer:
    secret = Secret(tmp_path / "secret", issued)
    files = Files(secret.folder / "tls.crt", secret.folder / "tls.key")
    port = TlsPort(Certificate(files))
    return HttpServer(bare, bind(HOST, 0, "APP_PORT"), limit=10, tls=port)


def test_a_client_in_the_queue_of_the_kernel_is_served(server: HttpServer) -> None:
    async def serve_it() -> None:
        address = server._socket.getsockname()
        await server.start()
        # The loop does not run meanwhile, so nobody accepts it.
        client = socket.create_connection(address, timeout=20)
        assert server.close_listener() == 1
        answering = asyncio.create_task(ask_over_tls(client))
        await asyncio.sleep(0)
        await server.finish_handshakes()
        assert (await answering).endswith(b"ok")
        await server.close_connections()

    uvloop.run(serve_it())


def test_a_handshake_under_way_is_waited_for_but_not_for_long(server: HttpServer) -> None:
    async def serve_it() -> None:
        address = server._socket.getsockname()
        await server.start()
        for stalls in (False, True):
            client = socket.create_connection(address, timeout=20)
            while len(server.connections.connections) != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            began = time.monotonic()
            waiting = asyncio.create_task(server.finish_handshakes())
            await asyncio.sleep(0.1)
            assert not waiting.done()
            if stalls:
                await waiting
                assert HANDSHAKE <= time.monotonic() - began < HANDSHAKE + 2
                client.close()
            else:
                assert (await ask_over_tls(client)).endswith(b"ok")
                await waiting
        server.close_listener()
        await server.close_connections()

    uvloop.run(serve_it())


class Echo(asyncio.Protocol):
    """Sends back what it gets; reads no more for a turn, and while that waits to be sent."""

    full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert not self.full, "more came after a pause"
        self.transport.pause_reading()
        self.transport.write(data)
        asyncio.get_running_loop().call_soon(self.go_on)

    def go_on(self) -> None:
        if not self.full and not self.transport.is_closing():
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.go_on()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_is_a_transport_in_each_event_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, issued: Issued
) -> None:
    """What a client sends comes back whole, although nobody reads it for a while."""
    secret = Secret(tmp_path / "secret", issued)
    files = Files(secret.folder / "tls.crt", secret.folder / "tls.key")
    sent, got = os.urandom(8 * MIB), bytearray()

    def client(port: int) -> None:
        with Secured(HOST, port) as connection:
            sending = threading.Thread(target=connection.send, args=(sent,))
            sending.start()
            time.sleep(0.3)  # in which all buffers fill
            while len(got) < len(sent):
                got.extend(connection.secured.recv(65536))
            sending.join()

    async def serve_one() -> None:
        loop = asyncio.get_running_loop()
        port = TlsPort(Certificate(files))
        server = await loop.create_server(port.behind(Echo), HOST, 0)
        await asyncio.to_thread(client, server.sockets[0].getsockname()[1])
        server.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(serve_one())
    assert bytes(got) == sent
