"""SIGKILL: what it had in hand is lost, the rest must not be."""

from collections.abc import Sequence

from drill.backend import Cluster
from drill.load.ledger import Sample
from drill.record import PodRecord
from drill.scenarios.base import Scenario
from drill.timeline import Timeline


class Crash(Scenario):
    """No service can save what a killed pod had in hand, nor what clients send until they know.

    Both are shown and not held against it; a loss at another pod, or after
    the pod is ready again, is.
    """

    name = "crash"
    title = "SIGKILL to 1 of {replicas} pods"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.crash(cluster.pods()[0])
        return ()

    def excuses(self, sample: Sample, pod: PodRecord, timeline: Timeline) -> bool:
        killed = timeline.first("SIGKILL", pod.name)
        return killed is not None and sample.ended >= killed
