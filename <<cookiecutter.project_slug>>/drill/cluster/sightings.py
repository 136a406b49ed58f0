"""What has happened to a pod between two versions of its object."""

from collections.abc import Iterator
from typing import Any

from drill.backend import Manifest


def container(pod: Manifest, name: str) -> Manifest:
    """The status of one container; empty before there is any."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return next((status for status in statuses if status["name"] == name), {})


def running(pod: Manifest, name: str) -> str:
    """The ID of the container that runs, or nothing."""
    status = container(pod, name)
    return str(status.get("containerID", "")) if "running" in status.get("state", {}) else ""


def endings(pod: Manifest, name: str) -> dict[str, Manifest]:
    """How containers of this name have ended, as far as is still known, by their IDs."""
    status = container(pod, name)
    states = (status.get("lastState") or {}, status.get("state") or {})
    ended: list[Any] = [state["terminated"] for state in states if state.get("terminated")]
    return {end.get("containerID") or end.get("finishedAt") or "": end for end in ended}


def ready(pod: Manifest) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod.get("status", {}).get("conditions") or []
    )


def deleted(pod: Manifest) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def ended(pod: Manifest) -> bool:
    """Whether all its containers have ended for good."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def serves(pod: Manifest) -> bool:
    return ready(pod) and not deleted(pod) and not ended(pod)


def sightings(old: Manifest, new: Manifest, name: str) -> Iterator[tuple[str, str]]:
    """Names and details of the events of ``backend.py``; ``old`` is empty for a new pod.

    Signals cannot be seen, and a hook only when it fails.
    """
    if deleted(new) and not (old and deleted(old)):
        yield "deleted", ""
    if new.get("status", {}).get("reason") == "Evicted" != old.get("status", {}).get("reason"):
        yield "evicted", str(new["status"].get("message", ""))
    # What has ended before the pod was seen first is no news.
    before = endings(old or new, name)
    for key, end in endings(new, name).items():
        if key in before:
            continue
        why = end.get("reason", "")
        yield (
            "exited",
            f"code {end['exitCode']}"
            + (f", {why}" if why not in ("", "Error", "Completed") else ""),
        )
        if not deleted(new) and not ended(new):
            yield "restarting", f"its container ended with code {end['exitCode']}"
    if (started := running(new, name)) and started != running(old, name):
        yield "started", ""
    if ready(new) and not ready(old):
        yield "ready", ""
    if ready(old) and not ready(new):
        yield "unready", ""


#: Reasons why a container waits that a person has to do something about.
HOPELESS = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
)


def hopeless(pod: Manifest) -> bool:
    return trouble(pod).partition(":")[0] in HOPELESS


def trouble(pod: Manifest) -> str:
    """Why it does not start, as far as it says."""
    status = pod.get("status", {})
    for each in (
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ):
        waiting = each.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", "it cannot be scheduled"))
    return str(status.get("message", ""))
