"""A rehearsal: a scenario under load, from the installation to the last exit."""

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
    """All that is known of a rehearsal when it is over."""

    scenario: Scenario
    plan: Plan
    backend: str
    workload: Workload
    timeline: Timeline
    pods: Sequence[PodRecord]
    changes: Sequence[Change]
    ledger: Ledger
    #: From the first act of the scenario until all pods it ended were gone and the clients knew.
    disturbance: tuple[float, float]
    #: How far the load fell behind its schedule at worst.
    late: float
    #: What the scenario itself found wrong, a sentence each.
    faults: Sequence[str]


async def rehearse(scenario: Scenario, plan: Plan, backend: Backend) -> Rehearsal:
    """Raises DrillError when it cannot be carried through."""
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
