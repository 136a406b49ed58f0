"""A handler that blocks the event loop, just when the pod is to be replaced."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from drill.backend import Cluster
from drill.plan import Plan
from drill.scenarios.base import Scenario, restart

BLOCKED_SECONDS = 5


class BlockedLoop(Scenario):
    """The pod must become unready, not dead, and hear its signal all the same."""

    name = "blocked-loop"
    title = (
        f"rolling update of {{replicas}} pods, the first of which blocks for {BLOCKED_SECONDS} s"
    )

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, environment={**plan.environment, "APP_EXAMPLES__FAULTS": "true"})

    async def act(self, cluster: Cluster) -> Sequence[str]:
        pod = cluster.pods()[0]
        blocking = asyncio.create_task(cluster.get(pod, f"/block?seconds={BLOCKED_SECONDS}"))
        await asyncio.sleep(BLOCKED_SECONDS / 2)
        await cluster.update(restart)
        await cluster.rolled_out()
        await asyncio.wait([blocking])
        if pod.restarts:
            return (
                f"{pod.name} was restarted while its loop was blocked: liveness has to be more "
                "patient than probes.stallSeconds.",
            )
        return ()
