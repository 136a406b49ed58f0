"""All pods but one go at the same moment."""

from collections.abc import Sequence

from drill.backend import Cluster
from drill.scenarios.base import Scenario


class ScaleDown(Scenario):
    name = "scale-down"
    title = "scale-down from {replicas} pods to 1"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.scale(1)
        return ()
