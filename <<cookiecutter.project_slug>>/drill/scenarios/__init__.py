"""What can happen to a release. A new scenario is a file here and a line in ``SCENARIOS``."""

from drill.scenarios.base import Scenario
from drill.scenarios.removals import Crash, Eviction, NodeDrain, ScaleDown, ShortGrace
from drill.scenarios.updates import (
    WORDS,
    ApiFailure,
    BadRelease,
    BlockedLoop,
    PrestopMissing,
    Rolling,
    SlowEndpoints,
)

__all__ = ["SCENARIOS", "Scenario"]

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Rolling(),
        ScaleDown(),
        Eviction(),
        ShortGrace(),
        Crash(),
        SlowEndpoints(),
        NodeDrain(),
        BadRelease(),
        PrestopMissing(),
        BlockedLoop(),
        *(ApiFailure(fault) for fault in WORDS),
    )
}
