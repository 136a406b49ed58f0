"""Rolling updates, in good and bad conditions."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from drill.backend import Cluster
from drill.plan import ApiFault, Plan
from drill.record import PodRecord
from drill.scenarios.base import Scenario, restart


class Rolling(Scenario):
    name = "rolling"
    title = "rolling update of {replicas} pods"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.update(restart)
        await cluster.rolled_out()
        return ()


class SlowEndpoints(Rolling):
    """Endpoints later than most fixed preStop sleeps; an ALB takes 15 to 25 seconds."""

    name = "slow-endpoints"
    title = "rolling update of {replicas} pods while every endpoint is late"

    LATE_SECONDS = 10.0

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, propagation=(self.LATE_SECONDS, self.LATE_SECONDS))


class PrestopMissing(Rolling):
    """SIGTERM is sent at once, as where the hook cannot run or outside of Kubernetes."""

    name = "prestop-missing"
    title = "rolling update of {replicas} pods without their preStop hook"

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, patches=(*plan.patches, without_hook))


def without_hook(deployment: dict[str, Any]) -> None:
    deployment["spec"]["template"]["spec"]["containers"][0].get("lifecycle", {}).pop(
        "preStop", None
    )


FAULT_TITLES = {
    ApiFault.FORBIDDEN: "forbids the pods to read it",
    ApiFault.DOWN: "is down",
    ApiFault.HANGS: "accepts connections and never answers",
    ApiFault.DIES: "goes down during a watch",
    ApiFault.FORGETS: "expires every resource version",
    ApiFault.LIES: "reports every endpoint as ready",
}


class ApiFailure(Rolling):
    """Pods cannot watch their endpoints: the drain uses `shutdown.fallbackSeconds` or its limit."""

    def __init__(self, fault: ApiFault) -> None:
        self.fault = fault
        self.name = f"api-{fault}"
        self.title = f"rolling update of {{replicas}} pods while the API {FAULT_TITLES[fault]}"

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, api=self.fault)


#: Shorter than the clients' timeouts: a late answer is not a loss.
BLOCKED_SECONDS = 4


class BlockedLoop(Scenario):
    """A blocked pod must become unready, not be restarted, and still react to its signal."""

    name = "blocked-loop"
    title = (
        f"rolling update of {{replicas}} pods, the first of which blocks for {BLOCKED_SECONDS} s"
    )

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, environment={**plan.environment, "EXAMPLES_FAULTS": "true"})

    async def act(self, cluster: Cluster) -> Sequence[str]:
        pod = cluster.pods()[0]
        blocking = asyncio.create_task(cluster.get(pod, f"/block?seconds={BLOCKED_SECONDS}"))
        await asyncio.sleep(BLOCKED_SECONDS / 2)
        await cluster.update(restart)
        await cluster.rolled_out()
        await asyncio.wait([blocking])
        if pod.restarts:
            return (
                f"{pod.name} was restarted while its event loop was blocked: liveness must "
                "allow more than probes.stallSeconds.",
            )
        return ()


#: The minimum time to watch a started pod of the bad release before the rollback.
WATCHED_SECONDS = 10.0
#: A pod is watched for this many times the start-up of the good release's slowest pod.
START_UPS = 3
POLL_SECONDS = 0.1


class BadRelease(Scenario):
    name = "bad-release"
    title = "update of {replicas} pods to a version that is never ready, and rollback"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        old = {pod.name for pod in cluster.pods()}
        patience = patience_for(cluster, old)
        await cluster.update(never_ready)
        await watch(cluster, old, patience)
        left = old & {pod.name for pod in cluster.pods()}
        _, unavailable = cluster.workload.surge(len(old))
        complete = cluster.is_rolled_out()
        await cluster.roll_back()
        await cluster.rolled_out()
        if complete:
            return ("a version that is never ready was rolled out: add a readiness probe.",)
        if len(left) < len(old) - unavailable:
            return (
                f"{len(old) - len(left)} of {len(old)} old pods were removed for a version that is "
                "never ready: lower rollout.maxUnavailable.",
            )
        return ()


def patience_for(cluster: Cluster, old: Iterable[str]) -> float:
    """Return the seconds within which a good pod becomes available on this machine."""
    took = [0.0]
    for name in old:
        started = cluster.timeline.first("started", name)
        ready = cluster.timeline.first("ready", name)
        if started is not None and ready is not None:
            took.append(ready - started)
    return cluster.workload.min_ready + max(WATCHED_SECONDS, START_UPS * max(took))


async def watch(cluster: Cluster, old: set[str], patience: float) -> None:
    """Watch until the release is rolled out, or no new pod has progressed for ``patience``.

    The first pod may take the progress deadline: it may wait for a node or an image.
    """
    began = cluster.timeline.now()
    while not cluster.is_rolled_out():
        new = [pod for pod in cluster.records if pod.name not in old]
        steps = [at for pod in new for at in progress(cluster, pod)]
        until = max(steps) + patience if steps else began + cluster.workload.progress_deadline
        if cluster.timeline.now() >= until:
            return
        await asyncio.sleep(POLL_SECONDS)


def progress(cluster: Cluster, pod: PodRecord) -> list[float]:
    """Return when the pod first started and was first ready; restarts are no progress."""
    found = (cluster.timeline.first(what, pod.name) for what in ("started", "ready"))
    return [at for at in found if at is not None]


def never_ready(deployment: dict[str, Any]) -> None:
    restart(deployment)
    probe = deployment["spec"]["template"]["spec"]["containers"][0].get("readinessProbe", {})
    if "httpGet" in probe:
        probe["httpGet"]["path"] = "/never-ready"
