"""What is done to single pods and nodes."""

import asyncio

from drill.cluster import crash, draining
from drill.cluster.api import MERGE, ApiError
from drill.cluster.scene import Scene
from drill.cluster.sightings import deleted, ready, running
from drill.errors import DrillError
from drill.record import PodRecord

GET_SECONDS = 60.0
#: A SIGKILL is so long before the end that it causes, at least.
KILLED_SECONDS = 0.001


async def kill(scene: Scene, pod: PodRecord) -> None:
    """SIGKILL. Returns when the kubelet has noticed."""
    tracker = scene.tracker
    found, before = tracker.pods.present[pod.name], pod.restarts
    container = running(found, tracker.pods.container).partition("://")[2]
    wall = await crash.kill(
        scene.api, scene.resources, found, container, tracker.deployment, scene.name
    )
    await scene.until(lambda: pod.restarts > before, f"the end of {pod.name} was not noticed")
    # Never after what it caused: the clocks of the nodes are known only about.
    ended = max(e.at for e in scene.timeline.events if (e.pod, e.what) == (pod.name, "exited"))
    killed = min(scene.timeline.of(wall), ended - KILLED_SECONDS)
    scene.timeline.place(killed, "SIGKILL", pod.name, "crash")


async def delete(scene: Scene, pod: PodRecord, grace: float) -> None:
    """Returns when the watch shows it: until then the pod would seem to be well."""
    await scene.resources.remove(scene.path("pods", pod.name), grace)

    def told() -> bool:
        found = scene.tracker.pods.present.get(pod.name)
        return found is None or deleted(found)

    await scene.until(told, f"the deletion of {pod.name} was not noticed")


async def evict(scene: Scene, pod: PodRecord) -> None:
    """By a deadline that has passed: the kubelet then ends the pod as in any other eviction.

    It runs the hook and gives the whole grace period, as before the shutdown
    of a node; nobody deletes the pod. It calls the pod unready at once, so
    that the endpoint does not wait for the probe.
    """
    path = scene.path("pods", pod.name)
    command = scene.resources.kubectl(f"delete pod {pod.name}")
    scene.undo.add(f"Pod {pod.name}", command, lambda: scene.resources.remove(path))
    scene.timeline.mark("evicted", pod.name)
    body = {"spec": {"activeDeadlineSeconds": 1}}
    await scene.api.repeat("PATCH", path, body=body, content=MERGE)

    def acts() -> bool:
        found = scene.tracker.pods.present.get(pod.name)
        return found is None or not ready(found)

    await scene.until(acts, f"the kubelet did not end {pod.name}")


async def drain(scene: Scene, node: str) -> None:
    """Only pods of the release: others are not the drill's to move."""
    pods = scene.tracker.pods
    if not await draining.cordon(scene.api, node, scene.undo):
        scene.timeline.mark("not cordoned", detail=f"the pods have no node but {node}")
    names = [pod.name for pod in pods.live() if pod.node == node]

    async def leave(name: str) -> None:
        def gone() -> bool:
            return name not in pods.present

        await draining.evict(scene.api, scene.namespace, name, gone)
        await scene.until(gone, f"{name} is still on {node}")

    within = scene.patience * len(names)  # a budget may let them go one by one only
    try:
        async with asyncio.timeout(within), asyncio.TaskGroup() as tasks:
            for name in names:
                tasks.create_task(leave(name))
    except TimeoutError:
        raise DrillError(
            f"the disruption budget kept pods on {node} for {within:g} s: see "
            f"`{scene.resources.kubectl('get poddisruptionbudgets')}`."
        ) from None


async def get(scene: Scene, pod: PodRecord, target: str) -> int:
    """By way of the API server; 0 where there was no answer."""
    where = scene.path("pods", f"{pod.name}:{scene.target.container_port}")
    try:
        return await scene.api.status(f"{where}/proxy{target}", GET_SECONDS)
    except ApiError:
        return 0
