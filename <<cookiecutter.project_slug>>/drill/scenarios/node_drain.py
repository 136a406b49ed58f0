"""`kubectl drain`: pods are evicted through the API, as their disruption budget allows."""

from collections.abc import Sequence

from drill.backend import Cluster
from drill.scenarios.base import Scenario


class NodeDrain(Scenario):
    name = "node-drain"
    title = "drain of a node under {replicas} pods"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        nodes = [pod.node for pod in cluster.pods()]
        await cluster.drain(max(nodes, key=nodes.count))
        return ()
