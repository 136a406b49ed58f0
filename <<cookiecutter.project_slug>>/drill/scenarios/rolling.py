"""Rolling updates: as it is, with late endpoints, and without the hook."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from drill.backend import Cluster
from drill.plan import Plan
from drill.scenarios.base import Scenario, restart


class Rolling(Scenario):
    name = "rolling"
    title = "rolling update of {replicas} pods"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.update(restart)
        await cluster.rolled_out()
        return ()


class SlowEndpoints(Rolling):
    """Longer than any fixed sleep that people dare to set; an ALB needs 15 to 25 seconds."""

    name = "slow-endpoints"
    title = "rolling update of {replicas} pods while every endpoint is late"

    LATE_SECONDS = 10.0

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, propagation=(self.LATE_SECONDS, self.LATE_SECONDS))


class PrestopMissing(Rolling):
    """SIGTERM comes at once, as it does where the hook cannot run or the pod is not Kubernetes'."""

    name = "prestop-missing"
    title = "rolling update of {replicas} pods without their preStop hook"

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, patches=(*plan.patches, without_hook))


def without_hook(deployment: dict[str, Any]) -> None:
    deployment["spec"]["template"]["spec"]["containers"][0].get("lifecycle", {}).pop(
        "preStop", None
    )
