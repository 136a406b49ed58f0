"""A new version that never becomes ready: the old one has to go on serving."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from drill.backend import Cluster
from drill.record import PodRecord
from drill.scenarios.base import Scenario, restart

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
