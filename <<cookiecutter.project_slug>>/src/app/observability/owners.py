"""The application's own metrics: whatever it registers with prometheus-client.

The service does not import that library, which takes 80 ms: it looks whether the application
has. Its collectors run in the thread of the management port.
"""

import sys
from collections.abc import Iterator, Set
from typing import Any

import structlog

log = structlog.get_logger(__name__)


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
