"""The parts of a scenario."""

from collections.abc import Sequence
from typing import Any

from drill.backend import Cluster
from drill.load.ledger import Sample
from drill.plan import Plan
from drill.record import PodRecord, Timeline


class Scenario:
    """Something that happens to a release while it serves."""

    #: As on the command line.
    name: str
    #: What happens, as in "rolling update of 3 pods"; ``{replicas}`` and the like are the plan's.
    title: str

    def prepare(self, plan: Plan) -> Plan:
        """The plan, changed where the scenario asks for it."""
        return plan

    async def act(self, cluster: Cluster) -> Sequence[str]:
        """Lets it happen, and returns when it is over or has been set going.

        Returns what went wrong besides lost requests, a sentence each.
        """
        raise NotImplementedError

    def excuses(self, sample: Sample, pod: PodRecord, timeline: Timeline) -> bool:
        """Whether no service could have served that request, so that it is not held against it."""
        return False


def restart(deployment: dict[str, Any]) -> None:
    """Another revision of the same, as `kubectl rollout restart` makes it."""
    annotations = deployment["spec"]["template"]["metadata"].setdefault("annotations", {})
    annotations["drill/restarted"] = str(int(annotations.get("drill/restarted", 0)) + 1)
