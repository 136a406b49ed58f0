"""Traces: the spans of requests and of background work, and the ids that tie logs to them.

A request that is not sampled costs its ids. They are made here, because a span of the SDK
costs as much as the rest of the request.
"""

import random
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from contextvars import Token
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.observability.lines import redacted, type_of

#: Flags of a trace: it is recorded, and its id is random.
SAMPLED, RANDOM = 1, 2
#: Every id of 64 bits is below it.
WHOLE = 2**64
#: In a context: its span is recorded whatever the sampler would say.
ALWAYS = contexts.create_key("always recorded")
ROOT = Context()
#: Methods that attributes and names of spans may have (RFC 9110, RFC 5789).
METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
Recorded = Span

_parent = re.compile(
    rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
).fullmatch
_trace_context, _baggage = TraceContextTextMapPropagator(), W3CBaggagePropagator()
#: Provider and version are looked up at the first span.
_tracer = trace.get_tracer("app")


class Trace(NonRecordingSpan):
    """The ids of a request; as long as nothing records it, also its span."""

    def __init__(self, trace: int, span: int, flags: int, state: str = "") -> None:
        self.trace, self.span, self.flags, self.state = trace, span, flags, state

    @cached_property
    def trace_id(self) -> str:
        """For logs and exemplars: 32 hexadecimal digits."""
        return f"{self.trace:032x}"

    @cached_property
    def span_id(self) -> str:
        """For logs and exemplars: 16 hexadecimal digits."""
        return f"{self.span:016x}"

    @cached_property
    def _span_context(self) -> SpanContext:
        state = TraceState.from_header([self.state]) if self.state else None
        return SpanContext(self.trace, self.span, False, TraceFlags(self.flags), state)

    def get_span_context(self) -> SpanContext:
        return self._span_context


class Request(Protocol):
    """A request or WebSocket, as far as its span needs it."""

    scope: MutableMapping[str, Any]
    status: int
    trace: Trace
    span: Span | None

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def request_id(self) -> str: ...
    def outcome(self) -> tuple[int, str]: ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which traces are recorded: a share of those that begin here, told by their id.

    If ``parent_based``, the caller decides for those that it has begun. None for ``share``:
    none, and what the caller sent is passed on as it came.
    """

    share: float | None = None
    parent_based: bool = True

    def records(self, parent_flags: int | None, trace_id: int) -> bool:
        """``parent_flags`` are those of the caller; None: the trace begins here."""
        if self.parent_based and parent_flags is not None:
            return bool(parent_flags & SAMPLED)
        return trace_id % WHOLE < round((self.share or 0) * WHOLE)


class NextIds:
    """The id of the trace that the SDK begins next in this thread, decided before; or 0."""

    next = 0


class Tracing:
    """Writes a span for each recorded request; by default only ids are made and passed on.

    ``headers`` are the names of those that carry a trace and are read. ``ids`` tells the SDK.
    """

    def __init__(
        self,
        sampling: Sampling = Sampling(),
        ids: NextIds | None = None,
        headers: Iterable[str] = ("traceparent", "tracestate", "baggage"),
    ) -> None:
        self._sampling = sampling
        self._ids = ids
        self._headers = frozenset(name.encode() for name in headers)

    def begin(self, request: Request) -> Token[Context]:
        """Begin the trace of ``request``, in the context of this task."""
        # FastAPI would write a second span.
        request.scope["fastapi.telemetry"] = None
        carried = [header for header in request.scope["headers"] if header[0] in self._headers]
        parent, context = self._extract(carried) if carried else (None, ROOT)
        sampling = self._sampling
        trace_id = random.getrandbits(128) if parent is None else parent.trace
        if self._ids and sampling.records(parent.flags if parent else None, trace_id):
            if parent is None:
                self._ids.next = trace_id
            span = _tracer.start_span(request.method, context, SpanKind.SERVER)
            made = span.get_span_context()
            request.span = span
            request.trace = Trace(made.trace_id, made.span_id, made.trace_flags)
            return contexts.attach(trace.set_span_in_context(span, context))
        if parent is None:
            request.trace = Trace(trace_id, random.getrandbits(64), RANDOM)
        elif sampling.share is None:
            request.trace = parent
        else:
            flags = parent.flags & RANDOM
            request.trace = Trace(trace_id, random.getrandbits(64), flags, parent.state)
        return contexts.attach(trace.set_span_in_context(request.trace, context))

    def _extract(self, carried: list[tuple[bytes, bytes]]) -> tuple[Trace | None, Context]:
        """The caller's span and a context with it and the baggage."""
        fields: dict[str, str] = {}
        parent = None
        for name, value in carried:
            if name == b"traceparent":
                parent = _parent(value)
            else:
                key, text = name.decode(), value.decode("latin-1")
                fields[key] = f"{fields[key]},{text}" if key in fields else text
        context = _baggage.extract(fields, ROOT) if "baggage" in fields else ROOT
        if parent is None or (parent[5] and parent[1] == b"00"):
            return None, context
        trace_id, span_id, flags = (int(part, 16) for part in parent.group(2, 3, 4))
        if not trace_id or not span_id:
            return None, context
        found = Trace(trace_id, span_id, flags, fields.get("tracestate", ""))
        return found, trace.set_span_in_context(found, context)

    def end(self, request: Request, route_of: Callable[[MutableMapping[str, Any]], str]) -> None:
        """End the span of ``request``, if it is recorded, with the error that is being handled."""
        if (span := request.span) is None:
            return
        scope, status = request.scope, request.status
        route = route_of(scope) if "endpoint" in scope else None
        outcome, ended_by = request.outcome()
        method = request.method if request.method in METHODS else "_OTHER"
        websocket = scope["type"] == "websocket"
        name = "WS" if websocket else method.replace("_OTHER", "HTTP")
        span.update_name(f"{name} {route}" if route else name)
        attributes: dict[str, Any] = {
            "http.request.method": "GET" if websocket else method,
            "url.scheme": scope.get("scheme", "http"),
            "url.path": redacted(request.path),
            "http.route": route,
            "http.response.status_code": status or None,
            "network.protocol.version": scope.get("http_version"),
            "client.address": (scope.get("client") or (None,))[0],
            "request_id": request.request_id,
            "ended_by": ended_by or None,
        }
        if (error := sys.exc_info()[1]) is not None:
            failed(span, error)
        elif outcome >= 500:
            attributes["error.type"] = ended_by or str(outcome)
            span.set_status(StatusCode.ERROR)
        span.set_attributes({key: value for key, value in attributes.items() if value is not None})
        span.end()


def failed(span: Span, error: BaseException) -> None:
    """Record why the work of ``span`` failed, without secrets in its message."""
    name = type_of(error)
    message = redacted(str(error))
    span.add_event("exception", {"exception.type": name, "exception.message": message})
    span.set_attribute("error.type", name)
    span.set_status(StatusCode.ERROR, message)


async def task(name: str, work: Awaitable[object], *, periodic: bool = False) -> None:
    """Await ``work`` in a trace of its own, with a link to the span that has led to it.

    That is the span which has started the task; it is recorded if that was. For a round of a
    periodic task it is the round before. The span stays current for the line in the log that
    reports an error; each task has a context of its own.
    """
    origin = trace.get_current_span().get_span_context()
    sampled = origin.trace_flags.sampled
    context = contexts.set_value(ALWAYS, True, ROOT) if sampled and not periodic else ROOT
    links = [Link(origin)] if sampled or not periodic else []
    span = _tracer.start_span(f"task {name}", context, links=links)
    if not span.get_span_context().is_valid:  # nothing is recorded
        await work
        return
    contexts.attach(trace.set_span_in_context(span))
    try:
        await work
    except BaseException as error:
        failed(span, error)
        raise
    finally:
        span.end()


def always(name: str, began: int) -> Span:
    """A span that is recorded whatever the sampler says; it began at ``began`` (Unix, in ns)."""
    return _tracer.start_span(name, contexts.set_value(ALWAYS, True, ROOT), start_time=began)


def detach(token: Token[Context]) -> None:
    """End what ``begin`` has begun for this task."""
    contexts.detach(token)


def mark_failed(span: Span, why: str) -> None:
    span.set_status(StatusCode.ERROR, redacted(why))


def ids() -> dict[str, str]:
    """``trace_id`` and ``span_id`` of the current span, for a log line; empty outside of one."""
    span = trace.get_current_span()
    if isinstance(span, Trace):
        return {"trace_id": span.trace_id, "span_id": span.span_id}
    made = span.get_span_context()
    if not made.is_valid:
        return {}
    return {"trace_id": f"{made.trace_id:032x}", "span_id": f"{made.span_id:016x}"}


def inject(headers: MutableMapping[str, str]) -> None:
    """Tell a called service of the current span and the baggage."""
    _trace_context.inject(headers)
    _baggage.inject(headers)
