"""The times that a pod was given for its stop, as it was told them."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from drill.chart.workload import Workload

#: Two goodbyes of one second each (`farewell` in chart/templates/_times.tpl).
FAREWELL_SECONDS = 2.0
VARIABLE = "APP_SHUTDOWN__{}_SECONDS"


@dataclass(frozen=True)
class Budgets:
    """Seconds; None where the container's environment does not say."""

    floor: float | None
    slack: float | None
    fallback: float | None
    quiet: float | None
    limit: float | None
    stream_spread: float | None
    farewell: float | None
    stop: float | None
    #: ``terminationGracePeriodSeconds`` of the pod.
    grace: float
    #: What the chart adds to the sum of the others.
    margin: float | None

    @classmethod
    def read(cls, workload: Workload, over: Mapping[str, str]) -> Self:
        """``over`` has variables that win over those of the container."""
        variables = _values(workload.template.container) | dict(over)

        def seconds(name: str) -> float | None:
            return _number(variables.get(VARIABLE.format(name)))

        spread, planned = seconds("STREAM_SPREAD"), seconds("GRACE")
        parts = cls(
            floor=seconds("FLOOR"),
            slack=seconds("SLACK"),
            fallback=seconds("FALLBACK"),
            quiet=seconds("QUIET"),
            limit=seconds("LIMIT"),
            stream_spread=spread,
            farewell=None if spread is None else FAREWELL_SECONDS,
            stop=seconds("STOP"),
            grace=workload.template.grace,
            margin=None,
        )
        if planned is None or (needed := parts.needed) is None:
            return parts
        return cls(**{**asdict(parts), "margin": planned - needed})

    @property
    def needed(self) -> float | None:
        """The longest stop that the service allows itself; None if it does not say."""
        parts = (self.limit, self.stream_spread, self.farewell, self.stop)
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def _values(container: Mapping[str, Any]) -> dict[str, str]:
    return {v["name"]: str(v["value"]) for v in container.get("env", ()) if "value" in v}


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
