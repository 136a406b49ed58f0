"""The load on a local cluster: clients in this process, that pick endpoints as kube-proxy does."""

import asyncio
import random

from drill.backend import LoadResult
from drill.load.ledger import Ledger
from drill.load.loss import Lost, Reason
from drill.load.requests import Load
from drill.load.streams import stream_clients
from drill.load.traffic import Traffic
from drill.local.endpoints import EndpointTable
from drill.plan import Plan
from drill.record import Endpoint
from drill.timeline import Timeline


class Clients:
    """All clients of a rehearsal, from ``start`` to ``stop``."""

    def __init__(
        self, plan: Plan, table: EndpointTable, timeline: Timeline, tasks: asyncio.TaskGroup
    ) -> None:
        traffic = Traffic(self._pick, Ledger(timeline.now), timeline.now, plan.routes)
        self._table = table
        self._ledger = traffic.ledger
        self._tasks = tasks
        self._load = Load(traffic, plan.rate, tasks)
        self._streams = stream_clients(traffic, plan.streams)
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        runs = (self._load.run(), *(client.run() for client in self._streams))
        self._running = [self._tasks.create_task(run) for run in runs]

    async def stop(self) -> LoadResult:
        """Returns when what was under way has its answer."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._load.finish()
        return LoadResult(self._ledger, self._load.late)

    def _pick(self) -> Endpoint:
        endpoints = self._table.seen()
        if not endpoints:
            raise Lost(Reason.NO_ENDPOINT)
        return random.choice(endpoints)
