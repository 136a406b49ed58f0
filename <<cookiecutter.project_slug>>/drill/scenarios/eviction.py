"""The kubelet ends a pod that nobody deleted: its node is short of memory or shuts down.

The endpoint is not marked as terminating then. It follows the readiness
probe, so it is later than in a rolling update by the probe's period times its
failure threshold.
"""

from collections.abc import Sequence

from drill.backend import Cluster
from drill.scenarios.base import Scenario


class Eviction(Scenario):
    name = "eviction"
    title = "eviction of 1 of {replicas} pods by its kubelet"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.evict(cluster.pods()[0])
        return ()
