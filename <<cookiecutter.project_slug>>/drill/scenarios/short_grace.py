"""Pods with less time than the chart says, as after `kubectl delete pod --grace-period=3`."""

from collections.abc import Sequence

from drill.backend import Cluster
from drill.scenarios.base import Scenario

#: For the hook; the kubelet gives two more after SIGTERM when it still runs.
GRACE_SECONDS = 3


class ShortGrace(Scenario):
    """The hook is cut off. Every pod has to end by itself all the same, and its streams well.

    A client that learns of the stop after the pod has ended is lost, and no
    setting of the service could change that.
    """

    name = "short-grace"
    title = f"deletion of {{replicas}} pods, one by one, with a grace period of {GRACE_SECONDS} s"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        for pod in cluster.pods():
            await cluster.delete(pod, GRACE_SECONDS)
            await cluster.settled()
        return ()
