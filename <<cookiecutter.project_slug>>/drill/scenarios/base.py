"""The base class of scenarios."""

from collections.abc import Sequence
from typing import Any

from drill.backend import Cluster
from drill.load.ledger import Sample
from drill.plan import Plan
from drill.record import PodRecord, Timeline


class Scenario:
    """Something that happens to a release under load."""

    #: The name on the command line.
    name: str
    #: What happens, such as "rolling update of 3 pods"; ``{replicas}`` comes from the plan.
    title: str
    #: How the verdict counts losses that ``excuses`` excuses.
    excused = "that no service could have served"

    def prepare(self, plan: Plan) -> Plan:
        """Return the plan with the scenario's changes."""
        return plan

    async def act(self, cluster: Cluster) -> Sequence[str]:
        """Run the scenario; return when it is over or under way.

        Returns what went wrong besides lost requests, one sentence each.
        """
        raise NotImplementedError

#% if cookiecutter.database == "postgresql"
    async def after(self) -> None:
        """Look at what the load has left, once it is over."""

#% endif
    def excuses(self, sample: Sample, pod: PodRecord, timeline: Timeline) -> bool:
        """Return whether no service could have served that request: it does not count then."""
        return False


def restart(deployment: dict[str, Any]) -> None:
    """Make a new revision with the same content, as `kubectl rollout restart` does."""
    annotations = deployment["spec"]["template"]["metadata"].setdefault("annotations", {})
    annotations["drill/restarted"] = str(int(annotations.get("drill/restarted", 0)) + 1)
