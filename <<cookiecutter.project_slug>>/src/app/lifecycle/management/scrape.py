"""``/metrics``: what the service measures, then what the application registers.

The service does not import prometheus-client, which takes 80 ms: it looks whether the
application has. Its collectors run in the thread of the management port.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import chain
from typing import Any

import structlog

from app.lifecycle.asgi import Scope
from app.lifecycle.management.server import Response, Route
from app.observability.metrics import (
    OPENMETRICS,
    TEXT,
    Family,
    accepts_openmetrics,
    exposition,
)

log = structlog.get_logger(__name__)

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


class _One:
    """A registry with one family."""

    def __init__(self, family: Any) -> None:
        self._family = family

    def collect(self) -> Iterator[Any]:
        yield self._family


def own_metrics(taken: Set[str], *, openmetrics: bool) -> Iterator[str]:
    """The text of each family of the default registry whose name is not ``taken``.

    An error of a collector is logged; the families before it are there.
    """
    client: Any = sys.modules.get("prometheus_client")
    registry = getattr(client, "REGISTRY", None)  # None while it is being imported
    if registry is None:
        return
    exposition = client.openmetrics.exposition if openmetrics else client.exposition
    try:
        for family in registry.collect():
            if not taken & {family.name, f"{family.name}_total"}:
                yield exposition.generate_latest(_One(family)).decode().removesuffix("# EOF\n")
    except Exception:
        log.exception("metrics of the application failed")
