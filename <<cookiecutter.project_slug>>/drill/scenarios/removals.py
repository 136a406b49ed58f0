"""[drill.scenarios.scale_down] All pods but one go at the same moment.
[drill.scenarios.eviction] The kubelet ends a pod that nobody deleted: its node is short of memory or shuts down.

The endpoint is not marked as terminating then. It follows the readiness
probe, so it is later than in a rolling update by the probe's period times its
failure threshold.

[drill.scenarios.node_drain] `kubectl drain`: pods are evicted through the API, as their disruption budget allows.
[drill.scenarios.short_grace] Pods with less time than the chart says, as after `kubectl delete pod --grace-period=3`.
[drill.scenarios.crash] SIGKILL: what it had in hand is lost, the rest must not be.
"""

from collections.abc import Sequence

from drill.backend import Cluster
from drill.load.ledger import Reason, Sample
from drill.record import PodRecord, Timeline
from drill.scenarios.base import Scenario


class ScaleDown(Scenario):
    name = "scale-down"
    title = "scale-down from {replicas} pods to 1"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.scale(1)
        return ()


class Eviction(Scenario):
    name = "eviction"
    title = "eviction of 1 of {replicas} pods by its kubelet"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        await cluster.evict(cluster.pods()[0])
        return ()


class NodeDrain(Scenario):
    name = "node-drain"
    title = "drain of a node under {replicas} pods"

    async def act(self, cluster: Cluster) -> Sequence[str]:
        nodes = [pod.node for pod in cluster.pods()]
        await cluster.drain(max(nodes, key=nodes.count))
        return ()


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


class Crash(Scenario):
    """No service can save what a killed pod had in hand, nor what clients send until they know.

    Both are shown and not held against it; a loss at another pod, or after
    the pod is ready again, is.
    """

    #: Clocks of nodes, and a client that cannot tell its pod: so long before the kill is its doing.
    CLOCK_SECONDS = 2.0
    #: A job that was accepted so long before the kill, or later, may have been in its pod's hands.
    IN_HAND_SECONDS = 10.0
    #: The kubelet has seen the container end, and kube-proxy has taken the change, by then.
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
            return False  # nobody else was there: that is a lack of pods
        # By way of kube-proxy: any pod, so the time alone has to tell.
        ready = (e.at for e in timeline.events if e.pod == pod.name and e.what == "ready")
        back = next((at for at in ready if at > killed), timeline.now())
        if sample.lost is not None and sample.lost.reason is Reason.UNDONE:
            return killed - self.IN_HAND_SECONDS <= sample.began <= back
        return killed - self.CLOCK_SECONDS <= sample.ended <= back + self.REACTION_SECONDS
