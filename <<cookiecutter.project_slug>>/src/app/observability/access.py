"""The access log: one line per request, in the format and on the output of the other logs."""

import json
import random
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

#% if cookiecutter.tracing == "opentelemetry"
from app.observability import spans
#% endif
from app.observability.logging import printable
from app.observability.pipe import Pipe

#: Maximum lengths of a logged User-Agent and path, so that no line is longer than 16 KiB.
LONGEST_AGENT, LONGEST_PATH = 256, 1024

_quote = json.encoder.encode_basestring_ascii


class Request(Protocol):
    """A finished request; its ASGI scope has the client as reported by trusted proxies."""

    scope: MutableMapping[str, Any]
    sent: int

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def request_id(self) -> str: ...

#% if cookiecutter.tracing == "opentelemetry"
    trace: spans.Trace

#% endif
    def outcome(self) -> tuple[int, str]: ...


class AccessLog:
    """Writes one line per finished request to ``pipe``, several lines at once.

    It formats the line itself: structlog would cost each request several times as much as
    the rest of the lifecycle. Lines stay in the order of their events: any other log line
    is written after the buffered ones. ``share`` of the requests with a status of 2xx have
    one, chosen at random; each of these lines has the field ``share``.
    """

    def __init__(
        self,
        pipe: Pipe,
        *,
        as_json: bool,
        phase: Callable[[], str],
        identity: Mapping[str, str],
        share: float = 1.0,
    ) -> None:
        self._write = pipe.write_soon
        # Formatted once: it is the same for every request.
        self._identity = "".join(f'"{key}": {_quote(value)}, ' for key, value in identity.items())
        self._share, self._weight = share, f'"share": {share:g}, '
        self._as_json = as_json
        self._phase = phase
        self._second = 0
        self._stamp = ""

    def __call__(self, request: Request, seconds: float) -> None:
        status, by = request.outcome()
        weight = ""
        if self._share < 1 and 200 <= status < 300 and not by:
            if random.random() >= self._share:
                return
            weight = self._weight
        path = request.path
        if len(path) > LONGEST_PATH:
            path = f"{path[:LONGEST_PATH]}..."
        # The server sends no body for HEAD, even if the application returns one.
        sent = 0 if request.method == "HEAD" else request.sent
        scope = request.scope
        client = (scope.get("client") or ("",))[0]
        if self._as_json:
            agent = b""
            for name, value in scope["headers"]:
                if name == b"user-agent":
                    agent = value[:LONGEST_AGENT]
                    break
            ended_by = f'"ended_by": "{by}", ' if by else ""
            line = (
                f'{{"method": "{request.method}", "path": {_quote(path)}, '
                f'"protocol": "HTTP/{scope["http_version"]}", '
                f'"status": {status}, "bytes": {sent}, {ended_by}'
                f'"seconds": {seconds:.6f}, "client": {_quote(client)}, '
                f'"user_agent": {_quote(agent.decode("latin-1"))}, '
                f'"request_id": "{request.request_id}", {weight}{self._identity}'
#% if cookiecutter.tracing == "opentelemetry"
                f'"trace_id": "{request.trace.trace_id}", "span_id": "{request.trace.span_id}", '
#% endif
                f'"phase": "{self._phase()}", "event": "request", "level": "info", '
                f'"timestamp": "{self._now()}"}}\n'
            )
        else:
            ended_by = f", ended by {by}" if by else ""
            line = (
                f"{self._now()} {status} {request.method} {printable(path)} "
                f"{seconds * 1000:.1f} ms {sent} B {printable(client)}{ended_by}\n"
            )
        self._write(line)

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1e6):06d}Z"
