"""The part of Kubernetes' API that has Leases: a real HTTP server, as strict as the real one.

GET, POST, PUT, PATCH (merge) with optimistic concurrency, and watches. It can be
told to refuse verbs, not to answer, and to be gone.
"""

import contextlib
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

LEASES = re.compile(r"/apis/coordination\.k8s\.io/v1/namespaces/([^/]+)/leases(?:/([^/]+))?")
#: What Go's layout "2006-01-02T15:04:05.000000Z07:00" reads: six digits, no fewer.
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?:Z|[+-]\d\d:\d\d)")
REASONS = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict"}
TOKEN = "abc"

T = TypeVar("T")
Json = dict[str, Any]


class RefusedError(Exception):
    """The answer is a Status of this code."""


class LeaseServer:
    """The Leases, by namespace and name, and how the server behaves."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.leases: dict[tuple[str, str], Json] = {}
        #: Each request that was understood: time (monotonic), verb and path.
        self.asked: list[tuple[float, str, str]] = []
        #: Each change of holder: time (monotonic) and holder.
        self.holders: list[tuple[float, str]] = []
        #: Verb → status code with which it is refused; "*" for all.
        self.refuse: dict[str, int] = {}
        #: Pod → seconds after which it hears that its update was made; those below are not made.
        self.late: dict[str, float] = {}
        self.unheard: set[str] = set()
        #: Set while answers are given.
        self.answering = threading.Event()
        self.answering.set()
        self.gone = False
        self._version = 100
        self._changed = threading.Condition()
        server = self

        class Handler(_Handler):
            leases = server

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.port = int(self._http.server_address[1])
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Be gone: connections that are open end, new ones are refused."""
        self.gone = True
        self.answering.set()
        with self._changed:
            self._changed.notify_all()
        self._http.shutdown()
        self._http.server_close()

    # -- what a test looks at -----------------------------------------------------------

    @property
    def holder(self) -> str:
        """The pod that holds the only Lease; empty for nobody."""
        with self._changed:
            for lease in self.leases.values():
                return str(lease["spec"].get("holderIdentity") or "").rpartition("_")[0]
        return ""

    def verbs(self, since: float = 0.0) -> list[str]:
        return [verb for at, verb, _ in list(self.asked) if at >= since]

    def edit(self, change: Callable[[Json], None]) -> None:
        """Change the only Lease behind everybody's back."""
        with self._changed:
            ((key, lease),) = self.leases.items()
            changed = json.loads(json.dumps(lease))
            change(changed)
            self._store(key, changed)

    def delete(self) -> None:
        with self._changed:
            self.leases.clear()
            self._changed.notify_all()

    # -- what the API does --------------------------------------------------------------

    def get(self, key: tuple[str, str]) -> Json:
        with self._changed:
            if key not in self.leases:
                raise RefusedError(404)
            return self.leases[key]

    def create(self, namespace: str, lease: Json) -> Json:
        key = (namespace, lease["metadata"]["name"])
        with self._changed:
            if key in self.leases:
                raise RefusedError(409)
            return self._store(key, lease)

    def update(self, key: tuple[str, str], lease: Json, *, merge: bool = False) -> Json:
        with self._changed:
            was = self.get(key)
            version = lease["metadata"].get("resourceVersion", was["metadata"]["resourceVersion"])
            if version != was["metadata"]["resourceVersion"]:
                raise RefusedError(409)
            if merge:
                lease = {**was, **lease, "spec": {**was["spec"], **lease.get("spec", {})}}
            return self._store(key, lease)

    def _store(self, key: tuple[str, str], lease: Json) -> Json:
        self._version += 1
        kept = dict(lease["metadata"], namespace=key[0], resourceVersion=str(self._version))
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        self.leases[key] = {**kind, "metadata": kept, "spec": _checked(lease.get("spec", {}))}
        holder = self.leases[key]["spec"].get("holderIdentity", "")
        if not self.holders or self.holders[-1][1] != holder:
            self.holders.append((time.monotonic(), holder))
        self._changed.notify_all()
        return self.leases[key]

    def watch(self, key: tuple[str, str], until: float) -> Iterator[Json]:
        """The Lease as it is, then each change; None now and then."""
        seen: Json | None = None
        while time.monotonic() < until and not self.gone:
            with self._changed:
                if self.leases.get(key) is seen:
                    self._changed.wait(0.2)
                lease = self.leases.get(key)
            if not self.answering.is_set():  # a stream that goes silent, and goes on later
                self.answering.wait()
            if lease is not seen:
                kind = "DELETED" if lease is None else "MODIFIED" if seen else "ADDED"
                yield {"type": kind, "object": lease or seen}
                seen = lease


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    leases: LeaseServer

    def do_GET(self) -> None:
        self._serve("get")

    def do_POST(self) -> None:
        self._serve("create")

    def do_PUT(self) -> None:
        self._serve("update")

    def do_PATCH(self) -> None:
        self._serve("patch")

    def log_message(self, *arguments: object) -> None:
        pass

    def _serve(self, verb: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if query.get("watch") == "true":
            verb = "watch"
        self.leases.asked.append((time.monotonic(), verb, parts.path))
        self.leases.answering.wait()
        if self.leases.gone:
            self.close_connection = True
            return
        try:
            self._authorize(verb)
            match = LEASES.fullmatch(parts.path)
            if match is None:
                raise RefusedError(404)
            namespace, name = match.groups()
            if verb == "watch":
                self._watch(namespace, query)
                return
            self._send(*self._do(verb, namespace, name, json.loads(body) if body else {}))
        except RefusedError as refused:
            code = int(refused.args[0])
            reason = REASONS.get(code, "InternalError")
            self._send(
                code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason}
            )
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True

    def _authorize(self, verb: str) -> None:
        secure = isinstance(self.connection, ssl.SSLSocket)
        if secure and self.headers.get("Authorization", "").lower() != f"bearer {TOKEN}":
            raise RefusedError(401)
        if code := self.leases.refuse.get(verb, self.leases.refuse.get("*")):
            raise RefusedError(code)

    def _do(self, verb: str, namespace: str, name: str, body: Json) -> tuple[int, Json]:
        if verb == "get":
            return 200, self.leases.get((namespace, name))
        if verb == "create":
            return 201, self.leases.create(namespace, body)
        if verb == "update" and body["metadata"]["name"] != name:
            raise RefusedError(400)
        pod = body.get("spec", {}).get("holderIdentity", "").partition("_")[0]
        if pod in self.leases.unheard:
            time.sleep(60)
        made = self.leases.update((namespace, name), body, merge=verb == "patch")
        time.sleep(self.leases.late.get(pod, 0))
        return 200, made

    def _watch(self, namespace: str, query: dict[str, str]) -> None:
        """A Role can name the Lease for ``watch`` only where the selector does so too."""
        field, _, name = query.get("fieldSelector", "").partition("=")
        if field != "metadata.name":
            raise RefusedError(403)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        until = time.monotonic() + int(query.get("timeoutSeconds", "1800"))
        for event in self.leases.watch((namespace, name), until):
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if not self.leases.gone:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = self.leases.gone

    def _send(self, status: int, content: Json) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _checked(spec: Json) -> Json:
    """As the API server's validation of a Lease. Raises RefusedError."""
    for name in ("acquireTime", "renewTime"):
        if name in spec and not MICRO_TIME.fullmatch(spec[name]):
            raise RefusedError(400)
    if spec.get("leaseDurationSeconds", 1) <= 0 or spec.get("leaseTransitions", 0) < 0:
        raise RefusedError(422)
    known = {"holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime"}
    if not set(spec) <= known | {"leaseTransitions"}:
        raise RefusedError(400)
    return spec


@contextlib.contextmanager
def lease_server(tls: ssl.SSLContext | None = None) -> Iterator[LeaseServer]:
    server = LeaseServer(tls)
    try:
        yield server
    finally:
        server.close()
