"""Pods that are removed: scaled down, evicted, deleted, or killed."""

from collections.abc import Sequence

from drill.backend import Cluster
from drill.load.ledger import Reason, Sample
from drill.record import PodRecord, Timeline
from drill.scenarios.base import Scenario


class ScaleDown(Scenario):
    """All pods but one stop at the same moment."""

    name = "scale-down"
    title = "scale-down from {replicas} pods to 1"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.scale(1)
        return ()


class Eviction(Scenario):
    """The kubelet stops a pod that nobody deleted: memory pressure, or the node shuts down.

    The endpoint is not marked as terminating. It follows the readiness probe, so it
    changes later than in a rolling update, by the probe's period times its failure threshold.
    """

    name = "eviction"
    title = "eviction of 1 of {replicas} pods by its kubelet"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.evict(cluster.pods()[0])
        return ()


class NodeDrain(Scenario):
    """`kubectl drain`: evictions through the API, as the disruption budget allows."""

    name = "node-drain"
    title = "drain of a node under {replicas} pods"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        nodes = [pod.node for pod in cluster.pods()]
        await cluster.drain(max(nodes, key=nodes.count))
        return ()


#: For the hook; if it still runs then, the kubelet allows two seconds after SIGTERM.
GRACE_SECONDS = 3


class ShortGrace(Scenario):
    """`kubectl delete pod --grace-period=3`: the hook is cut off.

    Every pod must still exit by itself and end its streams properly. A client that
    sees the change after the pod has ended is lost; no setting could prevent that.
    """

    name = "short-grace"
    title = f"deletion of {{replicas}} pods, one by one, with a grace period of {GRACE_SECONDS} s"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        for pod in cluster.pods():
            await cluster.delete(pod, GRACE_SECONDS)
            await cluster.settled()
        return ()


class Crash(Scenario):
    """SIGKILL: requests in flight are lost, and those sent until clients see the change.

    Both are reported and excused. A loss at another pod, or after the pod is
    ready again, counts.
    """

    #: Clock skew: a loss this long before the kill is excused if its client does not know its pod.
    CLOCK_SECONDS = 2.0
    #: A job accepted this long before the kill, or later, may have run in the killed pod.
    IN_HAND_SECONDS = 10.0
    #: Time for the kubelet to notice the end and for kube-proxy to apply the change.
    REACTION_SECONDS = 3.0

    name = "crash"
    title = "SIGKILL to 1 of {replicas} pods"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.crash(cluster.pods()[0])
        return ()

    def excuses(self, sample: Sample, pod: PodRecord, timeline: Timeline) -> bool:
        killed = timeline.first("SIGKILL", pod.name)
        if killed is None:
            return False
        if sample.pod:
            return sample.ended >= killed
        if not any(e.what == "ready" and e.pod != pod.name for e in timeline.events):
            return False  # no other pod was ready: too few pods
        # kube-proxy may have picked any pod: only the time can tell.
        ready = (e.at for e in timeline.events if e.pod == pod.name and e.what == "ready")
        back = next((at for at in ready if at > killed), timeline.now())
        if sample.lost is not None and sample.lost.reason is Reason.UNDONE:
            return killed - self.IN_HAND_SECONDS <= sample.began <= back
        return killed - self.CLOCK_SECONDS <= sample.ended <= back + self.REACTION_SECONDS
