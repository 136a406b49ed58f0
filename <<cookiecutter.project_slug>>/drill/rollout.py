"""The rehearsal: a rolling restart under load, step by step."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from drill import logs
from drill.cluster import Cluster
from drill.endpoints import Change, EndpointTable
from drill.ledger import Ledger
from drill.load import Load
from drill.logs import PodLog
from drill.pods import Pod, PodTemplate
from drill.processes import Processes
from drill.streams import stream_clients
from drill.timeline import Timeline
from drill.traffic import Routes, Traffic

START_SECONDS = 30.0
BEFORE_SECONDS = 2.0
AFTER_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    template: PodTemplate
    replicas: int = 3
    rate: float = 150.0
    propagation: float = 2.0
    #: Clients of each kind of stream.
    streams: int = 6
    routes: Routes = field(default_factory=Routes)

    def __str__(self) -> str:
        return (
            f"rolling restart of {self.replicas} pods, {self.rate:g} requests a second, "
            f"endpoints {self.propagation:g} s late"
        )


@dataclass(frozen=True)
class Rehearsal:
    """All that is known of a rehearsal when it is over."""

    plan: Plan
    timeline: Timeline
    changes: list[Change]
    ledger: Ledger
    pods: list[Pod]
    logs: dict[str, PodLog]
    #: From the first pod of the new generation to the exit of the last old one.
    rollout: tuple[float, float]
    #: How far the load fell behind its schedule at worst.
    late: float


async def rehearse(
    plan: Plan, processes: Processes, folder: Path, echo: Callable[[str], None]
) -> Rehearsal:
    timeline = Timeline(echo)
    table = EndpointTable(plan.propagation, timeline.now)
    traffic = Traffic(table, Ledger(timeline.now), timeline.now, plan.routes)

    async with asyncio.TaskGroup() as tasks:
        cluster = Cluster(
            plan.template, 2 * plan.replicas, folder, table, timeline, processes, tasks
        )
        old = await _start(plan, cluster, table, timeline)

        load = Load(traffic, plan.rate, tasks)
        clients = [client.run() for client in stream_clients(traffic, plan.streams)]
        running = [tasks.create_task(run) for run in (load.run(), *clients)]
        timeline.mark("load begins")
        await asyncio.sleep(BEFORE_SECONDS)

        began = timeline.now()
        new = await _roll(cluster, old)
        ended = timeline.now()

        await _until_seen(table, timeline)
        await asyncio.sleep(AFTER_SECONDS)
        for task in running:
            task.cancel()
        await load.finish()
        timeline.mark("load ended")

        await asyncio.gather(*[cluster.delete(pod) for pod in new])

    pods = list(cluster.pods.values())
    said = {pod.name: logs.read(pod.log, timeline) for pod in pods}
    return Rehearsal(
        plan, timeline, table.changes, traffic.ledger, pods, said, (began, ended), load.late
    )


async def _start(
    plan: Plan, cluster: Cluster, table: EndpointTable, timeline: Timeline
) -> list[Pod]:
    """The old generation, ready and known to the clients."""
    pods = [cluster.create(f"a{n}") for n in range(1, plan.replicas + 1)]
    for pod in pods:
        await pod.until_ready(START_SECONDS)
    await _until_seen(table, timeline)
    return pods


async def _roll(cluster: Cluster, old: list[Pod]) -> list[Pod]:
    """One new pod at a time; as soon as it is ready an old one is deleted.

    As with a Deployment (maxSurge 1, maxUnavailable 0), nothing waits for the
    clients to see the change, nor for a deleted pod to be gone.
    """
    new: list[Pod] = []
    deletions: list[asyncio.Task[None]] = []
    for number, pod in enumerate(old, 1):
        new.append(cluster.create(f"b{number}"))
        await new[-1].until_ready(START_SECONDS)
        deletions.append(cluster.delete(pod))
    await asyncio.gather(*deletions)
    return new


async def _until_seen(table: EndpointTable, timeline: Timeline) -> None:
    """Until the clients know which pods are ready now."""
    await asyncio.sleep(table.settled_at - timeline.now())
