"""The pods of a release: events derived from watched objects, on the rehearsal's clock."""

import bisect
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from drill.chart import Manifest
from drill.record import Event, PodRecord, Timeline


class ClusterTimeline(Timeline):
    """A timeline that can place times of the nodes' clocks.

    Until a line arrives from a node, its clock is assumed to equal this machine's.
    After that, the offset is the smallest difference between writing a line there
    and its arrival here. Node times are therefore late by the fastest transfer of a
    line: a few milliseconds up to about 0.1 s. All nodes are treated as one clock:
    NTP keeps them within milliseconds.
    """

    def __init__(self, echo: Callable[[str], None]) -> None:
        super().__init__(echo)
        self._offset = -self._zero_wall
        self._heard = False

    def heard(self, wall: float) -> None:
        """Note that a line arrived that its node wrote at ``wall``, in seconds since 1970."""
        offset = self.now() - wall
        self._offset = min(offset, self._offset) if self._heard else offset
        self._heard = True

    def at(self, timestamp: str) -> float:
        return self.of(datetime.fromisoformat(timestamp).timestamp())

    def of(self, wall: float) -> float:
        """Convert a node's time, in seconds since 1970, to this clock."""
        return wall + self._offset

    def place(self, at: float, what: str, pod: str, detail: str = "") -> None:
        """Insert an event that happened earlier at its time."""
        self.mark(what, pod, detail)
        self.events.pop()
        bisect.insort(self.events, Event(at, what, pod, detail), key=lambda event: event.at)


def container(pod: Manifest, name: str) -> Manifest:
    """Return a container's status; empty before there is one."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return next((status for status in statuses if status["name"] == name), {})


def running(pod: Manifest, name: str) -> str:
    """Return the ID of the running container, or an empty string."""
    status = container(pod, name)
    return str(status.get("containerID", "")) if "running" in status.get("state", {}) else ""


def endings(pod: Manifest, name: str) -> dict[str, Manifest]:
    """Return the known terminations of containers with this name, by container ID."""
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
    """Return whether all its containers have ended and will not restart."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def serves(pod: Manifest) -> bool:
    return ready(pod) and not deleted(pod) and not ended(pod)


def pod_events(old: Manifest, new: Manifest, name: str) -> Iterator[tuple[str, str]]:
    """Yield names and details of events between two versions; ``old`` is empty for a new pod.

    Signals are not visible, a hook only when it fails.
    """
    if deleted(new) and not (old and deleted(old)):
        yield "deleted", ""
    if new.get("status", {}).get("reason") == "Evicted" != old.get("status", {}).get("reason"):
        yield "evicted", str(new["status"].get("message", ""))
    # Terminations before the pod was first seen are not events.
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


#: Waiting reasons that do not resolve by themselves.
HOPELESS = (
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "InvalidImageName",
)


def hopeless(pod: Manifest) -> bool:
    return waiting_reason(pod).partition(":")[0] in HOPELESS


def waiting_reason(pod: Manifest) -> str:
    """Return why the pod does not start, as far as its status says."""
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


class Pods:
    """Records the events of the pods on the timeline."""

    def __init__(self, records: list[PodRecord], timeline: ClusterTimeline, folder: Path) -> None:
        #: Every pod that ever existed.
        self.records = records
        #: The last version of every pod that still exists.
        self.present: dict[str, Manifest] = {}
        #: The name of the main container.
        self.container = ""
        #: Called with each pod whose container has started, to follow its log.
        self.follow: Callable[[PodRecord], None] = lambda record: None
        #: The last warning event, by pod.
        self.warnings: dict[str, str] = {}
        self._seen: dict[str, Manifest] = {}
        self._revision = 1
        self._revisions: dict[str, int] = {}
        self._timeline = timeline
        self._folder = folder

    def live(self) -> list[PodRecord]:
        """Return the pods that are not being deleted."""
        return [
            record
            for record in self.records
            if (pod := self.present.get(record.name)) and not deleted(pod)
        ]

    def all_serve(self, replicas: int) -> bool:
        """Return whether exactly ``replicas`` pods exist and all are ready."""
        return len(self.present) == replicas and all(map(serves, self.present.values()))

    def next_revision(self, same_as: int | None = None) -> None:
        """Give pods of a new template the next revision, and those of ``same_as`` too."""
        self._revision += 1
        for template, revision in self._revisions.items():
            if revision == same_as:
                self._revisions[template] = self._revision

    def see(self, kind: str, pod: Manifest) -> None:
        name = pod["metadata"]["name"]
        if name not in self._seen:
            if kind == "DELETED" or ended(pod):
                return  # it ended before the rehearsal
            self._record(pod)
        elif name not in self.present:
            return  # its object outlives the pod
        record = next(record for record in self.records if record.name == name)
        self._note(record, self._seen.get(name, {}), pod)
        self._seen[name] = pod
        self.present[name] = pod
        if kind == "DELETED" or ended(pod):
            del self.present[name]
            self._timeline.mark("gone", name)

    def see_event(self, event: Manifest) -> None:
        """Take an Event object about a pod: failed hooks and probes, warnings."""
        about = event["involvedObject"]
        name = about.get("name", "")
        if name not in self.present or self.present[name]["metadata"]["uid"] != about.get("uid"):
            return
        reason, message = event.get("reason", ""), event.get("message", "")
        if reason == "FailedPreStopHook":
            self._timeline.mark("preStop ended", name, message or reason)
        elif reason == "Killing" and "probe" in message:
            self._timeline.mark("probe failed", name, message)
        if event.get("type") == "Warning":
            self.warnings[name] = f"{reason}: {message}"

    def hopeless(self) -> bool:
        """Return whether a pod waits for something that does not resolve by itself."""
        return any(map(hopeless, self.present.values()))

    def problem(self) -> tuple[str, Path | None]:
        """Return why a pod is not ready, as far as the cluster says, and its log."""
        for record in self.live():
            pod = self.present[record.name]
            if not serves(pod):
                why = waiting_reason(pod) or self.warnings.get(record.name) or "it is not ready"
                return f"pod {record.name}: {why}", record.log
        return "", None

    def _record(self, pod: Manifest) -> None:
        name = pod["metadata"]["name"]
        template = pod["metadata"].get("labels", {}).get("pod-template-hash", "")
        revision = self._revisions.setdefault(template, self._revision)
        log = self._folder / f"{name}.log"
        log.touch()
        self.records.append(PodRecord(name, revision, "", "", log))

    def _note(self, record: PodRecord, old: Manifest, pod: Manifest) -> None:
        record.node = pod["spec"].get("nodeName", "")
        record.address = pod.get("status", {}).get("podIP", "") or record.address
        told = {event.what for event in self._timeline.events if event.pod == record.name}
        for what, detail in pod_events(old, pod, self.container):
            if what in ("evicted", "restarting") and "evicted" in told:
                continue
            if what == "exited":
                record.exit_code = int(detail.removeprefix("code ").partition(",")[0])
            elif what == "deleted":  # at the end the kubelet deletes it again, with 0
                record.grace = pod["metadata"].get("deletionGracePeriodSeconds")
            elif what == "restarting":
                record.restarts += 1
            elif what == "started" and what not in told:
                self.follow(record)
            self._timeline.mark(what, record.name, detail)
