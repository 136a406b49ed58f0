"""What can happen to a release. A new scenario is a file here and a line in ``SCENARIOS``."""

from drill.scenarios.api_failure import WORDS, ApiFailure
from drill.scenarios.bad_release import BadRelease
from drill.scenarios.base import Scenario
from drill.scenarios.blocked_loop import BlockedLoop
from drill.scenarios.crash import Crash
from drill.scenarios.eviction import Eviction
from drill.scenarios.node_drain import NodeDrain
from drill.scenarios.rolling import PrestopMissing, Rolling, SlowEndpoints
from drill.scenarios.scale_down import ScaleDown
from drill.scenarios.short_grace import ShortGrace

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
