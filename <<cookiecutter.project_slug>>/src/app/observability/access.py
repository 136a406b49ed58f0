"""The access log: a line per request, in the same form and on the same stream."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

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
    """Writes one line per finished request.

    It formats the line itself: through the logging machinery it would cost each
    request several times as much as all the rest of the lifecycle.
    """

    def __init__(self, *, as_json: bool, phase: Callable[[], str]) -> None:
        self._as_json = as_json
        self._phase = phase

    def __call__(self, request: Request, seconds: float) -> None:
        now = datetime.now(UTC).isoformat()
        if self._as_json:
            line = (
                f'{{"method": "{request.method}", "path": {_quote(request.path)}, '
                f'"status": {request.status}, "seconds": {seconds:.6f}, '
                f'"request_id": "{request.request_id}", "phase": "{self._phase()}", '
                f'"event": "request", "level": "info", "timestamp": "{now}"}}\n'
            )
        else:
            line = (
                f"{now} {request.status} {request.method} {request.path} {seconds * 1000:.1f} ms\n"
            )
        sys.stdout.write(line)
        sys.stdout.flush()
