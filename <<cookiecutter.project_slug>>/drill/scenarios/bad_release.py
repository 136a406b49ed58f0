"""A new version that never becomes ready: the old one has to go on serving."""

import asyncio
from collections.abc import Sequence
from typing import Any

from drill.backend import Cluster
from drill.scenarios.base import Scenario, restart

#: How long the bad release is left to itself before it is rolled back.
WATCHED_SECONDS = 10.0


class BadRelease(Scenario):
    name = "bad-release"
    title = "update of {replicas} pods to a version that is never ready, and back"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        old = {pod.name for pod in cluster.pods()}
        await cluster.update(never_ready)
        await asyncio.sleep(WATCHED_SECONDS)
        left = old & {pod.name for pod in cluster.pods()}
        _, unavailable = cluster.workload.surge(len(old))
        complete = cluster.is_rolled_out()
        await cluster.roll_back()
        await cluster.rolled_out()
        if complete:
            return (
                "a version that is never ready was rolled out: give the pods a readiness probe.",
            )
        if len(left) < len(old) - unavailable:
            return (
                f"{len(old) - len(left)} of {len(old)} old pods were taken for a version that is "
                "never ready: lower rollout.maxUnavailable.",
            )
        return ()


def never_ready(deployment: dict[str, Any]) -> None:
    restart(deployment)
    probe = deployment["spec"]["template"]["spec"]["containers"][0].get("readinessProbe", {})
    if "httpGet" in probe:
        probe["httpGet"]["path"] = "/never-ready"
