"""Acts on single pods and nodes: SIGKILL, deletion, eviction, drain, a request."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from drill.chart import Manifest
from drill.cluster import load, watch
from drill.cluster.api import MERGE, Api, ApiError
from drill.cluster.pods import deleted, ended, ready, running, waiting_reason
from drill.cluster.release import Scene
from drill.cluster.resources import Resources, Undo
from drill.errors import DrillError
from drill.record import PodRecord

#: Between attempts of an eviction that a disruption budget forbids, as in kubectl.
RETRY_SECONDS = 5.0
#: Maximum of attempts without an answer.
UNANSWERED = 5


async def cordon(api: Api, node: str, undo: Undo) -> bool:
    """Cordon a node; return False and do nothing if no other node could take the pods.

    It is uncordoned at the end, unless it was cordoned before.
    """
    path = f"/api/v1/nodes/{node}"
    nodes = (await api.get("/api/v1/nodes"))["items"]
    others = [n for n in nodes if n["metadata"]["name"] != node and takes_pods(n)]
    here = next(n for n in nodes if n["metadata"]["name"] == node)
    if not others:
        return False
    if not here["spec"].get("unschedulable"):
        undo.add(
            f"the cordon of {node}",
            f"kubectl --context {api.context} uncordon {node}",
            lambda: mark(api, path, None),
        )
        await mark(api, path, True)
    return True


async def mark(api: Api, path: str, unschedulable: bool | None) -> None:
    body = {"spec": {"unschedulable": unschedulable}}
    await api.repeat("PATCH", path, body=body, content=MERGE)


def takes_pods(node: Manifest) -> bool:
    """Return whether a node is schedulable and ready, for pods without tolerations."""
    conditions = node.get("status", {}).get("conditions") or []
    return (
        not node["spec"].get("unschedulable")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        and all(t["effect"] == "PreferNoSchedule" for t in node["spec"].get("taints") or [])
    )


async def evict_by_api(api: Api, namespace: str, pod: str, gone: Callable[[], bool]) -> None:
    """Evict a pod through the API; retries while a disruption budget forbids it."""
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
    unanswered = 0
    while not gone():
        try:
            await api.call("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", body=body)
            return
        except ApiError as error:
            if error.status == 404:
                return
            # 500: misconfigured, such as two budgets for one pod. No answer: it may have succeeded.
            unanswered += error.status == 0
            if error.status not in (0, 429) or unanswered > UNANSWERED:
                raise
            await asyncio.sleep(RETRY_SECONDS)


#: Timeout of the pod that kills; its image is already on the node.
KILL_SECONDS = 60.0
PAUSE_SECONDS = 0.2

#: Kills PID 1 of a container; prints the time in seconds since 1970.
PROGRAM = """
import os, pathlib, sys, time
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        group = (folder / "cgroup").read_text()
        status = (folder / "status").read_text()
    except OSError:
        continue
    ids = next(line for line in status.splitlines() if line.startswith("NSpid")).split()
    if sys.argv[1] in group and ids[-1] == "1":
        now = time.time()
        os.kill(int(folder.name), 9)
        print("killed at", now, flush=True)
        break
else:
    sys.exit("its process is not visible from here")
"""


async def sigkill(
    api: Api,
    resources: Resources,
    pod: Manifest,
    container: str,
    deployment: Manifest,
    release: str,
) -> float:
    """Send SIGKILL to a container; return the time by the node's clock. Raises DrillError.

    Nothing in a container can kill its PID 1, and the API has no call for it. A pod on
    the same node with hostPID can, running as the same user, without other rights. It
    needs Pod Security level "privileged"; elsewhere the scenario cannot run."""
    name = f"{release}-kill-{secrets.token_hex(2)}"
    spec: dict[str, Any] = {
        **load.bare_pod(deployment, "kill", ["python", "-c", PROGRAM, container]),
        "hostPID": True,
        "nodeName": pod["spec"]["nodeName"],
        "tolerations": [{"operator": "Exists"}],
        "terminationGracePeriodSeconds": 0,
    }
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    try:
        made = await resources.apply(body, release)
    except ApiError as error:
        if error.status != 403:
            raise
        raise DrillError(
            f"SIGKILL needs a pod with hostPID, which was refused ({error}) "
            "Use a namespace with Pod Security level privileged, or skip this scenario."
        ) from error
    path = f"/api/v1/namespaces/{made['metadata']['namespace']}/pods/{name}"
    try:
        async with asyncio.timeout(KILL_SECONDS):
            while not ended(made):
                await asyncio.sleep(PAUSE_SECONDS)
                made = await api.get(path)
    except TimeoutError:
        why = waiting_reason(made) or "it does not start"
        raise DrillError(f"pod {name}, which sends the SIGKILL, did not run: {why}.") from None
    said = [line async for line in watch.follow(api, f"{path}/log", "kill", lambda: True)]
    if not said or not said[-1].startswith("killed at "):
        raise DrillError(f"{pod['metadata']['name']} could not be killed: {' '.join(said[-1:])}.")
    return float(said[-1].removeprefix("killed at "))


GET_SECONDS = 60.0
#: Minimum time between a SIGKILL and the end that it causes.
KILLED_SECONDS = 0.001


async def kill(scene: Scene, pod: PodRecord) -> None:
    """Send SIGKILL; return when the kubelet has noticed."""
    tracker = scene.tracker
    found, before = tracker.pods.present[pod.name], pod.restarts
    container = running(found, tracker.pods.container).partition("://")[2]
    wall = await sigkill(
        scene.api, scene.resources, found, container, tracker.deployment, scene.name
    )
    await scene.until(lambda: pod.restarts > before, f"the end of {pod.name} was not noticed")
    # Never after what it caused: the nodes' clocks are known only approximately.
    ended = max(e.at for e in scene.timeline.events if (e.pod, e.what) == (pod.name, "exited"))
    killed = min(scene.timeline.of(wall), ended - KILLED_SECONDS)
    scene.timeline.place(killed, "SIGKILL", pod.name, "crash")


async def delete(scene: Scene, pod: PodRecord, grace: float) -> None:
    """Delete the pod; return when the watch shows it."""
    await scene.resources.remove(scene.path("pods", pod.name), grace)

    def told() -> bool:
        found = scene.tracker.pods.present.get(pod.name)
        return found is None or deleted(found)

    await scene.until(told, f"the deletion of {pod.name} was not noticed")


async def evict(scene: Scene, pod: PodRecord) -> None:
    """Let the kubelet stop the pod by setting a deadline that has passed.

    As in other evictions, it runs the hook and allows the whole grace period, and
    nobody deletes the pod. Unlike them, the pod becomes unready at once: the endpoint
    does not wait for the probe.
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
    """Cordon the node and evict the release's pods, no others."""
    pods = scene.tracker.pods
    if not await cordon(scene.api, node, scene.undo):
        scene.timeline.mark("not cordoned", detail=f"the pods have no node but {node}")
    names = [pod.name for pod in pods.live() if pod.node == node]

    async def leave(name: str) -> None:
        def gone() -> bool:
            return name not in pods.present

        await evict_by_api(scene.api, scene.namespace, name, gone)
        await scene.until(gone, f"{name} is still on {node}")

    within = scene.patience * len(names)  # a budget may allow only one at a time
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
    """GET through the API server; return 0 if there was no answer."""
    where = scene.path("pods", f"{pod.name}:{scene.target.container_port}")
    try:
        return await scene.api.status(f"{where}/proxy{target}", GET_SECONDS)
    except ApiError:
        return 0
