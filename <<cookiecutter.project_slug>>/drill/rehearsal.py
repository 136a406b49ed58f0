"""A rehearsal: one scenario under load, from installation to the last exit."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from drill.backend import Backend
from drill.chart import Workload
from drill.load.ledger import Ledger
from drill.plan import Plan
from drill.record import Change, PodRecord, Timeline
from drill.scenarios import Scenario

BEFORE_SECONDS = 2.0
AFTER_SECONDS = 1.0


@dataclass(frozen=True)
class Rehearsal:
    """The result of a rehearsal, before analysis."""

    scenario: Scenario
    plan: Plan
    backend: str
    workload: Workload
    timeline: Timeline
    pods: Sequence[PodRecord]
    changes: Sequence[Change]
    ledger: Ledger
    #: From the scenario's first act until its pods were gone and the clients had seen it.
    disturbance: tuple[float, float]
    #: How far the load fell behind its schedule, at most, in seconds.
    late: float
    #: What the scenario itself found wrong, one sentence each.
    faults: Sequence[str]


async def rehearse(scenario: Scenario, plan: Plan, backend: Backend) -> Rehearsal:
    """Run a scenario under load. Raises DrillError if it cannot be completed."""
    plan = scenario.prepare(plan)
    async with backend.open(plan) as cluster:
        await cluster.start_load()
        cluster.timeline.mark("load begins")
        await asyncio.sleep(BEFORE_SECONDS)

        began = cluster.timeline.now()
        faults = await scenario.act(cluster)
        await cluster.settled()
        ended = cluster.timeline.now()

        await asyncio.sleep(AFTER_SECONDS)
        load = await cluster.stop_load()
#% if cookiecutter.database == "postgresql"
        await scenario.after()
#% endif
        cluster.timeline.mark("load ended")
    return Rehearsal(
        scenario,
        plan,
        backend.name,
        cluster.workload,
        cluster.timeline,
        cluster.records,
        cluster.changes,
        load.ledger,
        (began, ended),
        load.late,
        faults,
    )
