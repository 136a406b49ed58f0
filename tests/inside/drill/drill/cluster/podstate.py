"""What a pod's object says of it."""

from tests.drill.cluster.store import Json


def hash_of(pod: Json) -> str:
    return str(pod["metadata"]["labels"]["pod-template-hash"])


def has_ended(pod: Json) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses") or [{"state": {}}]
    return "terminated" in statuses[0]["state"]


def ready_path(pod: Json) -> str:
    probe = pod["spec"]["containers"][0].get("readinessProbe", {})
    return str(probe.get("httpGet", {}).get("path", ""))


def is_ready(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
