"""The nodes: names to put pods on."""

from collections.abc import Collection

from drill.errors import DrillError

NODES = ("node-1", "node-2", "node-3")


class Nodes:
    """Spreads pods as the chart's topologySpreadConstraints ask: by revision, then by number."""

    def __init__(self) -> None:
        self.cordoned: set[str] = set()

    def choose(self, revision: int, pods: Collection[tuple[str, int]]) -> str:
        """The node for one more pod; ``pods`` has the node and the revision of each there is."""

        def load(node: str) -> tuple[int, int]:
            return pods_on(node, of_revision=True), pods_on(node, of_revision=False)

        def pods_on(node: str, *, of_revision: bool) -> int:
            return sum(n == node and (r == revision or not of_revision) for n, r in pods)

        free = [node for node in NODES if node not in self.cordoned]
        if not free:
            raise DrillError("every node is cordoned: there is no place for another pod.")
        return min(free, key=load)
