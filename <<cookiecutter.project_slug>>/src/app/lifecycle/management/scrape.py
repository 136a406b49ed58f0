"""``/metrics``: what the service measures, then what the application does."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import chain

from app.lifecycle.asgi import Scope
from app.lifecycle.management.server import Response, Route
from app.observability.metrics import (
    OPENMETRICS,
    TEXT,
    Family,
    accepts_openmetrics,
    exposition,
)
from app.observability.owners import own_metrics

#: Seconds of work after which the main loop has a turn, and how long that is.
AT_ONCE, PAUSE = 0.001, 0.0005


def metrics_route(measures: Callable[[], Sequence[Family]]) -> Route:
    """A route with the current ``measures``, in the format that the client asks for."""

    async def route(scope: Scope) -> Response:
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
        openmetrics = accepts_openmetrics(accept)
        families = measures()
        ours = (exposition([family], openmetrics=openmetrics) for family in families)
        owners = own_metrics({family.name for family in families}, openmetrics=openmetrics)
        parts: list[str] = []
        began = time.monotonic()
        for part in chain(ours, owners):
            parts.append(part)
            if time.monotonic() - began > AT_ONCE:  # this thread has the interpreter's lock
                await asyncio.sleep(PAUSE)
                began = time.monotonic()
        if openmetrics:
            parts.append("# EOF\n")
        return Response(200, "".join(parts), OPENMETRICS if openmetrics else TEXT)

    return route
