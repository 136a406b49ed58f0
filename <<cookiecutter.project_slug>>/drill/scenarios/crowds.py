"""Clients that ask for too much: more requests than can be served, or connections for nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from drill.backend import Cluster
from drill.errors import DrillError
from drill.load.ledger import Kind
from drill.load.routes import Routes, Wait
from drill.plan import Plan
from drill.scenarios.base import Scenario, restart

#: Requests that a pod serves at once.
IN_FLIGHT = 10
QUEUE_SECONDS = 0.1
#: Of the capacity: requests before and after, and meanwhile.
CALM, OVERLOAD = 0.2, 5.0
#: For the part of the overload before a pod is deleted, and after it is gone.
OVERLOAD_SECONDS = 3.0
#: The time to recover, and to look at afterwards.
RECOVERY_SECONDS, RECOVERED_SECONDS = 2.0, 2.0
#: The marks on the timeline between which it lasts.
OVERLOAD_BEGINS, OVERLOAD_ENDS = "overload begins", "overload ends"


class Overload(Scenario):
    """A pod above its limit must shed what it cannot serve, and serve the rest as before.

    Each pod serves ``IN_FLIGHT`` requests at once, and a handler waits for a known time, so
    its capacity is known and needs little CPU. In the middle a pod is deleted: it must serve
    what it has accepted, and stop in time.
    """

    name = "overload"
    title = (
        f"deletion of 1 of {{replicas}} pods under {OVERLOAD / CALM:g} times their load, "
        f"{OVERLOAD:g} times what they can serve"
    )

    def prepare(self, plan: Plan) -> Plan:
        wait = wait_of(plan)
        settings = {
            "APP_REQUESTS__MAX_IN_FLIGHT": str(IN_FLIGHT),
            "APP_REQUESTS__QUEUE": "3",
            "APP_REQUESTS__QUEUE_SECONDS": f"{QUEUE_SECONDS:g}",
            **plan.environment,
        }
        return replace(
            plan,
            rate=CALM * plan.replicas * capacity(wait),
            streams=0,
            routes=Routes(wait, None, None, None, None, None, wait, shares={Kind.NEW: 1}),
            environment=settings,
            overloads=True,
        )

    async def act(self, cluster: Cluster) -> Sequence[str]:
        cluster.timeline.mark(OVERLOAD_BEGINS)
        await cluster.multiply_load(OVERLOAD / CALM)
        await asyncio.sleep(OVERLOAD_SECONDS)
        await cluster.delete(cluster.pods()[0], cluster.workload.template.grace)
        await cluster.settled()
        await asyncio.sleep(OVERLOAD_SECONDS)
        await cluster.multiply_load(1)
        cluster.timeline.mark(OVERLOAD_ENDS)
        await asyncio.sleep(RECOVERY_SECONDS + RECOVERED_SECONDS)
        return ()


def wait_of(plan: Plan) -> Wait:
    wait = plan.routes.wait
    if wait is None or wait.seconds <= 0:
        raise DrillError("overload needs a route whose handler waits: add [wait] to drill.toml.")
    return wait


def capacity(wait: Wait) -> float:
    """Return the requests a second that a pod can serve."""
    return IN_FLIGHT / wait.seconds


#: What the service may take for slow clients here; by default it is patient for longer.
HEADER_SECONDS = STALL_SECONDS = 3.0
#: The time before them, for them to arrive and to be closed, and to look at what they cost.
ALONE_SECONDS, ARRIVAL_SECONDS, BESIDE_SECONDS = 4.0, 6.0, 5.0
SLOW_CLIENTS, UPDATE = "slow clients arrive", "update beside them"


class SlowClients(Scenario):
    """Others must hardly notice clients that send or read as slowly as they can."""

    name = "slow-clients"
    title = "rolling update of {replicas} pods that {slow_clients:,} slow clients hold on to"

    def prepare(self, plan: Plan) -> Plan:
        settings = {
            "APP_REQUESTS__HEADER_SECONDS": f"{HEADER_SECONDS:g}",
            "APP_REQUESTS__STALL_SECONDS": f"{STALL_SECONDS:g}",
            **plan.environment,
        }
        return replace(plan, environment=settings, patches=(*plan.patches, available_at_once))

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await asyncio.sleep(ALONE_SECONDS)
        cluster.timeline.mark(SLOW_CLIENTS)
        await cluster.start_slow_clients()
        await asyncio.sleep(ARRIVAL_SECONDS + BESIDE_SECONDS)
        cluster.timeline.mark(UPDATE)
        await cluster.update(restart)
        await cluster.rolled_out()
        return ()


def available_at_once(deployment: dict[str, Any]) -> None:
    """Shorten the update."""
    deployment["spec"]["minReadySeconds"] = 0
