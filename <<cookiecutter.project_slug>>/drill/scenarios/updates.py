"""[drill.scenarios.rolling] Rolling updates: as it is, with late endpoints, and without the hook.
[drill.scenarios.api_failure] Rolling updates while pods cannot see their own endpoints, in each way an API can fail.
[drill.scenarios.blocked_loop] A handler that blocks the event loop, just when the pod is to be replaced.
[drill.scenarios.bad_release] A new version that never becomes ready: the old one has to go on serving.
"""

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


WORDS = {
    ApiFault.FORBIDDEN: "may not be asked by the pods",
    ApiFault.DOWN: "is down",
    ApiFault.HANGS: "takes connections and never answers",
    ApiFault.DIES: "dies while it is watched",
    ApiFault.FORGETS: "forgets every version",
    ApiFault.LIES: "calls every endpoint ready",
}


class ApiFailure(Rolling):
    """The drain has to go by `shutdown.fallbackSeconds`, or by its limit where it is lied to."""

    def __init__(self, fault: ApiFault) -> None:
        self.fault = fault
        self.name = f"api-{fault}"
        self.title = f"rolling update of {{replicas}} pods while the API {WORDS[fault]}"

    def prepare(self, plan: Plan) -> Plan:
        return replace(plan, api=self.fault)


#: Less than the patience of any client: what is answered late has not been lost.
BLOCKED_SECONDS = 4


class BlockedLoop(Scenario):
    """The pod must become unready, not dead, and hear its signal all the same."""

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
                f"{pod.name} was restarted while its loop was blocked: liveness has to be more "
                "patient than probes.stallSeconds.",
            )
        return ()


#: How long a started pod of the bad release is watched at least before the roll-back.
WATCHED_SECONDS = 10.0
#: A pod is watched for so many times as long as the slowest pod of the good release needed.
START_UPS = 3
POLL_SECONDS = 0.1


class BadRelease(Scenario):
    name = "bad-release"
    title = "update of {replicas} pods to a version that is never ready, and back"

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
            return (
                "a version that is never ready was rolled out: give the pods a readiness probe.",
            )
        if len(left) < len(old) - unavailable:
            return (
                f"{len(old) - len(left)} of {len(old)} old pods were taken for a version that is "
                "never ready: lower rollout.maxUnavailable.",
            )
        return ()


def patience_for(cluster: Cluster, old: Iterable[str]) -> float:
    """Seconds in which a pod that can become available does, on this machine."""
    took = [0.0]
    for name in old:
        started = cluster.timeline.first("started", name)
        ready = cluster.timeline.first("ready", name)
        if started is not None and ready is not None:
            took.append(ready - started)
    return cluster.workload.min_ready + max(WATCHED_SECONDS, START_UPS * max(took))


async def watch(cluster: Cluster, old: set[str], patience: float) -> None:
    """Until the release is rolled out, or no new pod has started or become ready for ``patience``.

    The first pod has the progress deadline to start in: it may wait for a node or an image.
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
    """When it first started and first was ready; a pod that restarts for ever makes no more."""
    found = (cluster.timeline.first(what, pod.name) for what in ("started", "ready"))
    return [at for at in found if at is not None]


def never_ready(deployment: dict[str, Any]) -> None:
    restart(deployment)
    probe = deployment["spec"]["template"]["spec"]["containers"][0].get("readinessProbe", {})
    if "httpGet" in probe:
        probe["httpGet"]["path"] = "/never-ready"
