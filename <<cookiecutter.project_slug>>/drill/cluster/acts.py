"""[drill.cluster.draining] A node emptied as `kubectl drain` does, of the pods of one release only.
[drill.cluster.crash] SIGKILL to a container's first process.

Nothing in a container can kill its PID 1, nor does the API know a signal. A pod
on the same node that sees the node's processes (hostPID) can, and it needs no
other right: it runs as the same user. Pod Security of level "privileged" is
what allows hostPID; where it is not allowed the scenario cannot be run.

[drill.cluster.acts] What is done to single pods and nodes.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from drill.chart import Manifest
from drill.cluster import load, watch
from drill.cluster.api import MERGE, Api, ApiError
from drill.cluster.pods import deleted, ended, ready, running, trouble
from drill.cluster.release import Scene
from drill.cluster.resources import Resources, Undo
from drill.errors import DrillError
from drill.record import PodRecord

#: Between two tries of an eviction that a disruption budget forbids, as in kubectl.
RETRY_SECONDS = 5.0
#: So many tries may remain without an answer.
UNANSWERED = 5


async def cordon(api: Api, node: str, undo: Undo) -> bool:
    """False, and nothing done, where no other node could take the pods.

    The node is open again at the end, unless it was closed before.
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
    """Whether it is open and ready, for pods that tolerate no taint."""
    conditions = node.get("status", {}).get("conditions") or []
    return (
        not node["spec"].get("unschedulable")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        and all(t["effect"] == "PreferNoSchedule" for t in node["spec"].get("taints") or [])
    )


async def evict_by_api(api: Api, namespace: str, pod: str, gone: Callable[[], bool]) -> None:
    """Returns when the API has taken it; tries on while a disruption budget is in the way."""
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
            # 500 is a mistake, as two budgets for one pod; no answer may mean that it was taken.
            unanswered += error.status == 0
            if error.status not in (0, 429) or unanswered > UNANSWERED:
                raise
            await asyncio.sleep(RETRY_SECONDS)


#: Its pod has to be started; the image is on the node already.
KILL_SECONDS = 60.0
PAUSE_SECONDS = 0.2

#: Says when it killed, in seconds since 1970.
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
    sys.exit("its process is not to be seen from here")
"""


async def sigkill(
    api: Api,
    resources: Resources,
    pod: Manifest,
    container: str,
    deployment: Manifest,
    release: str,
) -> float:
    """When it was killed, by the node's clock. Raises DrillError when it was not."""
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
            f"a SIGKILL needs a pod with hostPID, which is refused ({error}) "
            "Take a namespace with Pod Security level privileged, or leave the scenario out."
        ) from error
    path = f"/api/v1/namespaces/{made['metadata']['namespace']}/pods/{name}"
    try:
        async with asyncio.timeout(KILL_SECONDS):
            while not ended(made):
                await asyncio.sleep(PAUSE_SECONDS)
                made = await api.get(path)
    except TimeoutError:
        why = trouble(made) or "it does not start"
        raise DrillError(f"the pod {name}, which is to kill another, does not: {why}.") from None
    said = [line async for line in watch.follow(api, f"{path}/log", "kill", lambda: True)]
    if not said or not said[-1].startswith("killed at "):
        raise DrillError(f"{pod['metadata']['name']} could not be killed: {' '.join(said[-1:])}.")
    return float(said[-1].removeprefix("killed at "))


GET_SECONDS = 60.0
#: A SIGKILL is so long before the end that it causes, at least.
KILLED_SECONDS = 0.001


async def kill(scene: Scene, pod: PodRecord) -> None:
    """SIGKILL. Returns when the kubelet has noticed."""
    tracker = scene.tracker
    found, before = tracker.pods.present[pod.name], pod.restarts
    container = running(found, tracker.pods.container).partition("://")[2]
    wall = await sigkill(
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
    if not await cordon(scene.api, node, scene.undo):
        scene.timeline.mark("not cordoned", detail=f"the pods have no node but {node}")
    names = [pod.name for pod in pods.live() if pod.node == node]

    async def leave(name: str) -> None:
        def gone() -> bool:
            return name not in pods.present

        await evict_by_api(scene.api, scene.namespace, name, gone)
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
