"""A registry over HTTP that fails on demand; the subclasses speak the API of one.

All of them keep what was asked, by act: "register", "beat", "deregister", "read", "login".
"""

import contextlib
import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.harness import HOST

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Json:
        found: Json = json.loads(self.body)
        return found

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body, keep_blank_values=True))


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: str = ""


@dataclass(frozen=True)
class Call:
    """One call of a client, as it came in."""

    at: float
    act: str
    request: Request


class RegistryServer:
    """A registry on a port of its own, which it keeps when it is down for a while.

    ``faults`` maps acts, or "any", to what happens instead: a status, "hang", "garbage", "drop",
    or a number of seconds by which the answer is late.
    """

    #: For a registry over TLS.
    tls: ssl.SSLContext | None = None

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: dict[str, int | float | str] = {}
        self.lock = threading.RLock()
        self._server: Server | None = None
        self._port = 0
        self.up()

    # -- what the subclasses know -------------------------------------------------------

    def act(self, request: Request) -> str:
        raise NotImplementedError

    def answer(self, act: str, request: Request) -> Answer:
        raise NotImplementedError

    def readers(self) -> set[tuple[str, int]]:
        """The addresses that clients of the service ``web`` get; as they ask for them."""
        raise NotImplementedError

    def forget(self) -> None:
        """Lose every entry."""
        raise NotImplementedError

    # -- how it is run ------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{HOST}:{self._port}"

    @property
    def direct(self) -> str:
        """The address for other protocols than HTTP."""
        return self.url

    def up(self) -> None:
        """Listen, on the same port as before."""
        handler = type("HandlerOfThis", (Handler,), {"registry": self})
        self._server = Server((HOST, self._port), handler)
        self._server.tls = self.tls
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def acts(self, act: str, since: float = 0.0) -> list[Call]:
        return [call for call in list(self.calls) if call.act == act and call.at >= since]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: RegistryServer

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length", 0))
        request = Request(
            method=self.command,
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(length).decode(),
        )
        act = self.registry.act(request)
        self.registry.calls.append(Call(time.monotonic(), act, request))
        faults = self.registry.faults
        fault = faults.get(act, faults.get("any", 0.0))
        if isinstance(fault, float):
            time.sleep(fault)
            with self.registry.lock:
                self._send(self.registry.answer(act, request))
        elif isinstance(fault, int):
            self._send(Answer(fault, "as the test wants it"))
        elif fault == "garbage":
            self._send(Answer(200, "<html>welcome to the captive portal</html>"))
        elif fault == "drop":
            self.close_connection = True
        elif fault == "hang":
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.settimeout(30)
                self.connection.recv(1)
        else:
            raise AssertionError(fault)

    do_GET = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        with contextlib.suppress(OSError):
            self.send_response(answer.status, HTTPStatus(answer.status).phrase)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            return super().finish_request(request, client_address)
        with self.tls.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def running(server: RegistryServer) -> Iterator[RegistryServer]:
    try:
        yield server
    finally:
        server.down()
