"""A new version beside the old one, step by step as docs/canary.md walks."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from drill import metrics
from drill.backend import Cluster
from drill.errors import DrillError
from drill.load.ledger import Kind, Reason, Sample
from drill.plan import Plan
from drill.record import PodRecord, Timeline
from drill.scenarios.base import Scenario, restart

#: Percent of the requests.
WEIGHTS = (5, 25, 50, 100)
#: A step takes until the canary has had so many requests, and at least so many seconds.
STEP_REQUESTS, STEP_SECONDS = 150, 4.0
#: A canary that has not had enough by then cannot be judged; a bad one must have been seen.
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.5
#: The name of its release and its version; no image is needed, because pods are processes.
TAG = "canary"
FAULTS = {
    "errors": "answers a quarter of its requests with 500",
    "slow": "takes 3 s longer for a quarter of its requests",
}


@dataclass
class Step:
    """The time in which the canary had a weight, in percent."""

    weight: int
    begin: float
    #: When the next weight was set; the gateway applied it at ``end``.
    set: float = math.inf
    end: float = math.inf


class Canary(Scenario):
    """Without a ``fault`` the new version gets everything, and the stable release is updated.

    With one it must be taken back as soon as its metrics show it.
    """

    excused = "by the canary"

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.name = f"canary-{fault}" if fault else "canary"
        steps = f"gets {', '.join(map(str, WEIGHTS))} % of the requests, then they are updated"
        what = f"{FAULTS[fault]} and is taken back" if fault else steps
        self.title = f"a canary beside {{replicas}} pods {what}"
        self.steps: list[Step] = []
        #: What its metrics showed, and when.
        self.seen = ""
        self.seen_at = 0.0

    def prepare(self, plan: Plan) -> Plan:
        # The gateway keeps the connections to the pods, and sees when a pod closes one.
        shares = dict(plan.routes.shares)
        shares[Kind.CHECKED] = shares.get(Kind.CHECKED, 0) + shares.pop(Kind.KEPT, 0)
        return replace(plan, routes=replace(plan.routes, shares=shares))

    async def act(self, cluster: Cluster) -> Sequence[str]:
        self.steps, self.seen, self.seen_at = [], "", 0.0
        timeline = cluster.timeline
        async with cluster.beside(self.release) as canary:
            self.seen = await self._walk(cluster, canary)
            if self.seen:
                self.seen_at = timeline.now()
                timeline.mark(f"the canary is worse: {self.seen}")
            else:
                await cluster.update(restart)
                await cluster.rolled_out()
            await self._give(canary, 0)
        if self.fault and not self.seen:
            return (f"its metrics did not show that the canary {FAULTS[self.fault]}.",)
        if self.seen and not self.fault:
            return (f"a canary without a fault was taken back: {self.seen}.",)
        return ()

    def release(self, plan: Plan) -> Plan:
        """Return the plan of the canary's release."""
        values = plan.values
        files = (*values.files, values.chart / "values-canary.yaml")
        values = replace(values, files=files, settings=(*values.settings, f"image.tag={TAG}"))
        patches = (partial(faulty, fault=self.fault),) if self.fault else ()
        return replace(plan, release=TAG, values=values, patches=(*plan.patches, *patches))

    async def _give(self, canary: Cluster, weight: int) -> None:
        last, clock = self.steps[-1] if self.steps else Step(0, 0.0), canary.timeline.now
        last.set = clock()
        await canary.take(weight)
        last.end = clock()
        self.steps.append(Step(weight, last.end))
        canary.timeline.mark(f"the canary gets {weight} % of the requests")

    async def _walk(self, cluster: Cluster, canary: Cluster) -> str:
        """Give it more and more; return what its metrics show as soon as it is worse."""
        usual: metrics.Figures = Counter()
        for weight in WEIGHTS:
            await self._give(canary, weight)
            before = await asyncio.gather(figures(cluster), figures(canary))
            count, age = 0, 0.0
            while count < STEP_REQUESTS or age < STEP_SECONDS:
                if age > PATIENCE_SECONDS:
                    raise DrillError(
                        f"the metrics of the canary show {count} requests after {age:.0f} s with "
                        f"{weight} % of them, too few to judge it: raise --rate."
                    )
                await asyncio.sleep(POLL_SECONDS)
                stable, new = await asyncio.gather(figures(cluster), figures(canary))
                # At 100 % the stable release has none: then what it had before counts.
                if weight < WEIGHTS[-1]:
                    usual = stable - before[0]
                if worse := metrics.worse(new - before[1], usual):
                    return worse
                count = metrics.requests(new - before[1])
                age = cluster.timeline.now() - self.steps[-1].begin
        return ""

    def excuses(self, sample: Sample, pod: PodRecord, timeline: Timeline) -> bool:
        """Answers of the bad canary until it was taken back; a good one has no excuse."""
        lost = sample.lost is not None and sample.lost.reason is Reason.STATUS
        mine = pod.canary and sample.pod == pod.name
        return bool(self.fault) and lost and mine and sample.began < self.steps[-1].begin


async def figures(cluster: Cluster) -> metrics.Figures:
    return metrics.read((await cluster.metrics()).values())


def faulty(deployment: dict[str, Any], fault: str) -> None:
    """Run the service with a fault; see ``faulty.py``."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    program = Path(__file__).parents[1] / "faulty.py"
    container |= {"command": ["python", "-c", program.read_text("utf-8")], "args": []}
    container.setdefault("env", []).append({"name": "DRILL_FAULT", "value": fault})
