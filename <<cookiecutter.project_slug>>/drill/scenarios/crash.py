"""SIGKILL: what it had in hand is lost, the rest must not be."""

from collections.abc import Sequence

from drill.backend import Cluster
from drill.load.ledger import Sample
from drill.load.loss import Reason
from drill.record import PodRecord
from drill.scenarios.base import Scenario
from drill.timeline import Timeline


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
