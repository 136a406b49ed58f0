"""An API server for EndpointSlices, on a real socket: it lists, watches, and fails on demand.

It speaks what https://kubernetes.io/docs/reference/using-api/api-concepts/ says: pages with
``continue``, watches from a ``resourceVersion`` on, bookmarks, 410 Gone in both of its forms.
"""

import contextlib
import copy
import json
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.answers import Answers
from tests.harness import HOST

Json = dict[str, Any]


def endpoint(pod: str, *, address: str = "", uid: str = "", **conditions: bool | None) -> Json:
    """An entry of a slice; ``ready=False`` and the like are its conditions."""
    target = {"kind": "Pod", "namespace": "prod", "name": pod, **({"uid": uid} if uid else {})}
    made: Json = {"addresses": [address or "10.1.0.1"], "conditions": conditions}
    return {**made, "targetRef": target} if pod else made


def endpoint_slice(
    *endpoints: Json, service: str = "web", name: str = "", kind: str = "IPv4"
) -> Json:
    return {
        "metadata": {
            "name": name or f"{service}-abcde",
            "namespace": "prod",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": kind,
        "endpoints": list(endpoints),
    }


@dataclass
class KubeApi:
    """The state of the server. Change ``fault`` at any time; it is the name of a method below."""

    token: str = ""
    fault: str = ""
    #: Requests so far: "list" or "watch", and the query.
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    #: Seconds between two bookmarks; none if 0.
    bookmarks: float = 0.0
    page: int = 500
    url: str = ""
    #: Versions up to this one are forgotten.
    forgotten: int = 0
    _version: int = 100
    _slices: dict[str, Json] = field(default_factory=dict)
    _events: list[tuple[int, str, Json]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, one: Json) -> None:
        """Add a slice, or change the one of this name."""
        with self._changed:
            kind = "MODIFIED" if one["metadata"]["name"] in self._slices else "ADDED"
            self._record(kind, copy.deepcopy(one))

    def delete(self, name: str) -> None:
        with self._changed:
            self._record("DELETED", self._slices[name])

    def _record(self, kind: str, one: Json) -> None:
        self._version += 1
        one["metadata"]["resourceVersion"] = str(self._version)
        name = one["metadata"]["name"]
        if kind == "DELETED":
            del self._slices[name]
        else:
            self._slices[name] = one
        self._events.append((self._version, kind, copy.deepcopy(one)))
        self._changed.notify_all()

    def listed(self, services: list[str], limit: int, token: str) -> Json:
        with self._changed:
            names = sorted(n for n, one in self._slices.items() if service_of(one) in services)
            start, size = int(token or 0), min(limit or self.page, self.page)
            more = {"continue": str(start + size)} if start + size < len(names) else {}
            return {
                "kind": "EndpointSliceList",
                "metadata": {"resourceVersion": str(self._version), **more},
                "items": [self._slices[name] for name in names[start : start + size]],
            }

    def events(self, services: list[str], since: int, seconds: float) -> Iterator[Json]:
        """What happens from ``since`` on, for so long, or until the API is told to fail."""
        deadline = time.monotonic() + seconds
        while True:
            with self._changed:
                for version, kind, one in self._events:
                    if version > since and service_of(one) in services:
                        yield {"type": kind, "object": one}
                since = self._version
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait_for(
                    lambda seen=since: self._version > seen or bool(self.fault),  # type: ignore[misc]
                    min(left, self.bookmarks or left),
                )
                if self.fault:
                    return
                if self.bookmarks:
                    bookmark = {"metadata": {"resourceVersion": str(self._version)}}
                    yield {"type": "BOOKMARK", "object": bookmark}

    def fail(self, fault: str) -> None:
        """From now on, on streams under way too; "gone" means that all versions are forgotten."""
        with self._changed:
            self.forgotten = self._version if fault == "gone" else 0
            self.fault = fault
            self._changed.notify_all()


def service_of(one: Json) -> str:
    return str(one["metadata"]["labels"]["kubernetes.io/service-name"])


class Handler(Answers):
    """One connection. ``api`` is set by the subclass that ``serving`` makes."""

    api: KubeApi

    def do_GET(self) -> None:  # noqa: N802
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        what = "watch" if "watch" in query else "list"
        self.api.asked.append((what, query))
        self.api.tokens.append(self.headers.get("authorization", ""))
        assert parts.path == "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices"
        if self.failed(what):
            return
        services = query["labelSelector"].partition(" in (")[2].removesuffix(")").split(",")
        if self.api.token and self.headers.get("authorization") != f"Bearer {self.api.token}":
            self.refuse(401)
        elif what == "list":
            limit, token = int(query.get("limit", 0)), query.get("continue", "")
            self.answer(200, self.api.listed(services, limit, token))
        elif int(query["resourceVersion"]) <= self.api.forgotten:
            self.refuse(410)
        else:
            self.stream(services, int(query["resourceVersion"]), float(query["timeoutSeconds"]))

    def stream(self, services: list[str], since: int, seconds: float) -> None:
        self.open_stream()
        for event in self.api.events(services, since, seconds):
            if self.failed("stream"):
                return
            self.chunk(json.dumps(event).encode() + b"\n")
        if not self.failed("stream"):
            self.wfile.write(b"0\r\n\r\n")

    # -- how it fails -------------------------------------------------------------------

    def failed(self, what: str) -> bool:
        """Fail as the API is told to, if it is told so for ``what``; say whether it did."""
        fault = self.api.fault
        if fault.isdigit() and what != "stream":
            self.refuse(int(fault))
            return True
        for place in (what, "watch" if what == "stream" else "", "any"):
            fail = getattr(self, f"{place}_{fault.replace('-', '_')}", None)
            if fail is not None:
                if place == "watch" and what == "watch":
                    self.open_stream()
                fail()
                return True
        return False

    def any_silent(self) -> None:
        self.hang()

    def any_dead(self) -> None:
        self.drop()

    def any_drip_status(self) -> None:
        self.drip(b"HTTP/1.1 200 " + b"OK" * 500)

    def any_drip_headers(self) -> None:
        self.drip(b"HTTP/1.1 200 OK\r\n", b"x-drip: drop\r\n")

    def list_drip_body(self) -> None:
        self.drip(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", b" ")

    def list_drip_chunks(self) -> None:
        self.open_stream()
        self.drip(b"", b"1\r\n \r\n")

    def watch_drip_chunks(self) -> None:
        """A line that never ends, a byte of it at a time."""
        self.drip(b"", b"1\r\n{\r\n")

    def watch_gone_event(self) -> None:
        status = {"kind": "Status", "code": 410, "message": "too old resource version"}
        self.chunk(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
        self.wfile.write(b"0\r\n\r\n")

    def watch_cut(self) -> None:
        self.wfile.write(b'40\r\n{"type": "MODIFIED", "obj')
        self.drop()

    def watch_garbage(self) -> None:
        self.chunk(b"\x00\xff{[}\n" * 3)

    def watch_noise(self) -> None:
        """Garbage, in streams alone."""
        self.watch_garbage()

    def watch_short(self) -> None:
        """Ends every stream at once."""
        self.wfile.write(b"0\r\n\r\n")

    def watch_mute(self) -> None:
        """Headers, then neither events nor an end."""
        self.hang()

    def list_garbage(self) -> None:
        self.answer_bytes(200, b"<html>welcome to the captive portal</html>")

    def list_other_kind(self) -> None:
        self.answer(200, {"kind": "PodList", "metadata": {}, "items": [1]})

    def list_nonsense(self) -> None:
        kind = {"kind": "EndpointSliceList", "metadata": {"resourceVersion": "1"}}
        self.answer(200, {**kind, "items": [{"metadata": None, "endpoints": 7}]})

    def list_empty(self) -> None:
        self.answer(200, self.api.listed([], 0, ""))

    def list_deep(self) -> None:
        self.answer_bytes(200, b"[" * 100_000)

    def list_huge(self) -> None:
        self.open_stream()
        with contextlib.suppress(OSError):
            for _ in range(2000):
                self.chunk(b" " * 65536)


class Server(socketserver.ThreadingTCPServer):
    """Each connection has a thread; an error on one is the test's business, not stderr's."""

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
def serving(tls: ssl.SSLContext | None = None, host: str = HOST) -> Iterator[KubeApi]:
    """An API server; ``url`` says where."""
    api = KubeApi()
    handler = type("HandlerOfThis", (Handler,), {"api": api})
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with type("ServerOfThis", (Server,), {"address_family": family})((host, 0), handler) as server:
        server.tls = tls
        port = server.server_address[1]
        bracketed = f"[{host}]" if ":" in host else host
        api.url = f"{'https' if tls else 'http'}://{bracketed}:{port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
