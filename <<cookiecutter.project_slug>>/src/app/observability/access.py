"""The access log: a line per request, in the same form and on the same stream."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from app.observability.pipe import Pipe

_quote = json.encoder.encode_basestring_ascii


class Request(Protocol):
    """What the access log reads of a finished request."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def request_id(self) -> str: ...


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
        if self._as_json:
            line = (
                f'{{"method": "{request.method}", "path": {_quote(request.path)}, '
                f'"status": {request.status}, "seconds": {seconds:.6f}, '
                f'"request_id": "{request.request_id}", {self._identity}'
                f'"phase": "{self._phase()}", "event": "request", "level": "info", '
                f'"timestamp": "{self._now()}"}}\n'
            )
        else:
            line = (
                f"{self._now()} {request.status} {request.method} {request.path} "
                f"{seconds * 1000:.1f} ms\n"
            )
        self._write(line)

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1e6):06d}Z"
