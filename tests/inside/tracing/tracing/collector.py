"""A receiver of OTLP over HTTP, by the protocol's own definitions."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.harness import HOST, eventually


@dataclass(frozen=True)
class Span:
    """A span as it was received."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    state: str
    attributes: dict[str, Any]
    #: Trace and span ids.
    links: list[tuple[str, str]]
    events: list[tuple[str, dict[str, Any]]]
    failed: bool
    seconds: float


SERVER, CLIENT, INTERNAL = 2, 3, 1


@dataclass
class Collector:
    """What was received so far."""

    port: int
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def wait_for(self, name: str, count: int = 1) -> list[Span]:
        """Wait for ``count`` spans of this name."""
        seen = sorted({span.name for span in self.spans})
        eventually(lambda: len(self.named(name)) >= count, f"{count} spans {name!r}, not {seen}")
        return self.named(name)

    def one(self, name: str) -> Span:
        (span,) = self.wait_for(name)
        return span

    def take(self, body: bytes) -> None:
        for part in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = values(part.resource.attributes)
            self.resources.append(resource)
            for scope in part.scope_spans:
                self.spans.extend(span_of(resource, span) for span in scope.spans)


def span_of(resource: dict[str, Any], span: Any) -> Span:
    return Span(
        service=resource["service.name"],
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        state=span.trace_state,
        attributes=values(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        events=[(event.name, values(event.attributes)) for event in span.events],
        failed=span.status.code == 2,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: value_of(one.value) for one in attributes}


def value_of(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(one) for one in value.array_value.values]
    return getattr(value, kind)


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that works."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            collector.take(body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        collector = Collector(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield collector
        server.shutdown()


@contextlib.contextmanager
def unavailable() -> Iterator[str]:
    """The endpoint of a collector that answers 503."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(503)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}"
        server.shutdown()


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """The endpoint of a collector that accepts connections and never answers."""
    with socket.create_server((HOST, 0)) as listener:
        yield f"http://{HOST}:{listener.getsockname()[1]}"


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """An endpoint that nobody listens on."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield f"http://{HOST}:{bound.getsockname()[1]}"
