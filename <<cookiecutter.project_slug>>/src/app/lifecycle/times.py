"""The times of a stop, and whether they fit together."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import structlog

from app.lifecycle.budget import LEAST
from app.lifecycle.http.streams import STREAM_GRACE
from app.lifecycle.phase import MARGIN

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Times:
    """Budgets of a stop, in seconds; the settings say what each protects."""

    floor: float
    slack: float
    quiet: float
    limit: float
    fallback: float
    stream_spread: float
    stop: float
    grace: float
    #: The part of ``stop`` that is for the components' own budgets.
    reserved: float = 0.0

    def longest(self) -> float:
        """The longest stop, with the goodbyes of the last streams."""
        return self.limit + self.stream_spread + 2 * STREAM_GRACE + self.stop

    def with_components(self, seconds: float, fixed: Collection[str]) -> "Times":
        """With ``seconds`` for components, added to ``stop`` and ``grace`` if not ``fixed``.

        A fixed stop gives them what it can spare.
        """
        if "stop" in fixed:
            return replace(self, reserved=min(seconds, max(0.0, self.stop - LEAST)))
        grace = self.grace if "grace" in fixed else self.grace + seconds
        return replace(self, stop=self.stop + seconds, grace=grace, reserved=seconds)

    def warn(self, components: Mapping[str, float]) -> None:
        """Log what does not fit; ``components`` are the budgets that add up.

        Only a warning: a service that refused to start would turn a stop that may cut
        something off into an outage. The chart refuses such times before anything is replaced.
        """
        needed = LEAST + sum(components.values())
        if self.stop < needed and components:
            closing = ", then ".join(f"{name} {own:g} s" for name, own in components.items())
            log.warning(
                "the stop is too short for the components",
                reason=f"APP_SHUTDOWN__STOP_SECONDS={self.stop:g} is below the {needed:g} s that "
                f"a stop may need ({closing}, and {LEAST:g} s for everything else): raise it, in "
                "the chart by shutdown.stopSeconds or by `make generate`, or lower the budgets "
                "of these components",
            )
        if self.longest() + MARGIN > self.grace:
            log.warning(
                "the timeouts exceed the grace period; the watchdog would end the stop",
                longest=self.longest(),
                grace=self.grace,
            )
