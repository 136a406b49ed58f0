"""A node emptied as `kubectl drain` does, of the pods of one release only."""

import asyncio
from collections.abc import Callable

from drill.backend import Manifest
from drill.cluster.api import MERGE, Api, ApiError
from drill.cluster.undo import Undo

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


async def evict(api: Api, namespace: str, pod: str, gone: Callable[[], bool]) -> None:
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
