"""The load of the local backend, in this process, and how a route divides it."""

import asyncio
import random
from dataclasses import replace

from drill.backend import LoadResult
from drill.chart import Release, Values
from drill.errors import DrillError
from drill.load.ledger import Ledger, Lost, Reason
from drill.load.slow import slow_clients
from drill.load.streams import stream_clients
from drill.load.traffic import Load, Traffic
from drill.local.endpoints import EndpointTable
from drill.plan import Plan
from drill.record import Endpoint, Timeline


class Clients:
    """The clients of a release; they pick endpoints as kube-proxy does.

    ``divide`` makes them a gateway, which chooses between two releases for each request and
    each stream.
    """

    def __init__(
        self,
        plan: Plan,
        table: EndpointTable,
        timeline: Timeline,
        tasks: asyncio.TaskGroup,
        ledger: Ledger,
    ) -> None:
        traffic = Traffic(self._pick, ledger, timeline.now, plan.routes, plan.overloads)
        divided = replace(traffic, pick=lambda: self._chosen()._pick())
        self.ledger = ledger
        self._table = table
        self._tasks = tasks
        self._load = Load(traffic, plan.rate, tasks)
        self._load.route = lambda: self._chosen()._load
        self._streams = stream_clients(divided, plan.streams)
        self._slow = slow_clients(traffic, plan.slow_clients)
        self._running: list[asyncio.Task[None]] = []
        self._other, self._share = self, 0.0

    def start(self) -> None:
        runs = (self._load.run(), *(client.run() for client in self._streams))
        self._running = [self._tasks.create_task(run) for run in runs]

    def set_rate(self, rate: float) -> None:
        self._load.rate = rate

    def start_slow_clients(self) -> None:
        self._running += [self._tasks.create_task(client.run()) for client in self._slow]

    def divide(self, other: "Clients", share: float) -> None:
        """Send so much of what comes, 0 to 1, to the pods of ``other``, on its connections."""
        self._other, self._share = other, share

    async def stop(self) -> LoadResult:
        """Stop sending; wait for requests in flight."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._load.finish()
        return LoadResult(self.ledger, self._load.late)

    def _chosen(self) -> "Clients":
        return self._other if random.random() < self._share else self

    def _pick(self) -> Endpoint:
        endpoints = self._table.seen()
        if not endpoints:
            raise Lost(Reason.NO_ENDPOINT)
        return random.choice(endpoints)


def routed_share(values: Values, canary: str, service: str, weight: int) -> float:
    """Return the share of the requests, 0 to 1, that the chart's HTTPRoute gives ``service``.

    ``canary`` is the name of the other release and ``weight`` its percentage. Raises DrillError
    with Helm's message, or if the route leads elsewhere.
    """
    walk = (
        "ingress.enabled=false",
        "httpRoute.enabled=true",
        "httpRoute.parentRefs[0].name=gateway",
        f"canary.release={canary}",
        f"canary.weight={weight}",
    )
    route = Release.render(replace(values, settings=(*values.settings, *walk))).one("HTTPRoute")
    weights = {
        backend["name"]: int(backend.get("weight", 1))
        for backend in route["spec"]["rules"][0]["backendRefs"]
    }
    if service not in weights:
        raise DrillError(
            f"the route leads to {', '.join(weights)}, not to the canary's Service {service}: "
            "do not set fullnameOverride."
        )
    return weights[service] / sum(weights.values())
