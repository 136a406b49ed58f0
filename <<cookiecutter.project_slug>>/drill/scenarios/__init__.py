"""What can happen to a release. To add a scenario, write a class and list it in ``SCENARIOS``."""

from drill.scenarios.base import Scenario
from drill.scenarios.canary import FAULTS, Canary
from drill.scenarios.crowds import Overload, SlowClients
#% if cookiecutter.database == "postgresql"
from drill.scenarios.migration import Migration
#% endif
from drill.scenarios.removals import Crash, Eviction, NodeDrain, ScaleDown, ShortGrace
from drill.scenarios.updates import (
    FAULT_TITLES,
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
        Overload(),
        SlowClients(),
#% if cookiecutter.database == "postgresql"
        Migration(),
#% endif
        Canary(),
        *(Canary(fault) for fault in FAULTS),
        *(ApiFailure(fault) for fault in FAULT_TITLES),
    )
}
