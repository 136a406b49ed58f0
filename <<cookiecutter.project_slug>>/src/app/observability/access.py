"""The access log: a line per request, in the same form and on the same stream."""

import json
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

from app.observability.logging import printable
from app.observability.pipe import Pipe

#: Longest User-Agent that is logged.
LONGEST_AGENT = 256

_quote = json.encoder.encode_basestring_ascii


class Request(Protocol):
    """What the access log reads of a finished request, and of its ASGI scope.

    The scope names the client as far as trusted proxies have told of it.
    """

    @property
    def scope(self) -> MutableMapping[str, Any]: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def sent(self) -> int: ...
    @property
    def request_id(self) -> str: ...
    def outcome(self) -> tuple[int, str]: ...


class AccessLog:
    """Writes one line per finished request to ``pipe``, together with the next ones.

    It formats the line itself: through the logging machinery it would cost each
    request several times as much as all the rest of the lifecycle. The order of the
    lines is that of the events: any other log line is written after those that wait.
    """

    def __init__(
        self,
        pipe: Pipe,
        *,
        as_json: bool,
        phase: Callable[[], str],
        identity: Mapping[str, str],
    ) -> None:
        self._write = pipe.write_soon
        # Written once: it is the same for every request.
        self._identity = "".join(f'"{key}": {_quote(value)}, ' for key, value in identity.items())
        self._as_json = as_json
        self._phase = phase
        self._second = 0
        self._stamp = ""

    def __call__(self, request: Request, seconds: float) -> None:
        status, by = request.outcome()
        # The server sends no body to a HEAD, whatever the application has given it.
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
                f'{{"method": "{request.method}", "path": {_quote(request.path)}, '
                f'"protocol": "HTTP/{scope["http_version"]}", '
                f'"status": {status}, "bytes": {sent}, {ended_by}'
                f'"seconds": {seconds:.6f}, "client": {_quote(client)}, '
                f'"user_agent": {_quote(agent.decode("latin-1"))}, '
                f'"request_id": "{request.request_id}", {self._identity}'
                f'"phase": "{self._phase()}", "event": "request", "level": "info", '
                f'"timestamp": "{self._now()}"}}\n'
            )
        else:
            ended_by = f", ended by {by}" if by else ""
            line = (
                f"{self._now()} {status} {request.method} {printable(request.path)} "
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
