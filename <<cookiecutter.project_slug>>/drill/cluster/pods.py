"""[drill.cluster.clock] The rehearsal's clock, and how far the cluster's clocks are from it.
[drill.cluster.sightings] What has happened to a pod between two versions of its object.
[drill.cluster.pods] The pods of a release as the watch shows them, their records and their logs.
"""

import bisect
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from drill.chart import Manifest
from drill.record import Event, PodRecord, Timeline


class ClusterTimeline(Timeline):
    """A timeline on which times of the nodes' clocks can be placed.

    Until something was heard from a node, its clock is taken for this
    machine's. From then on the least difference between when a line was
    written there and when it arrived here is taken for the difference of the
    clocks. What a node says is therefore placed too late by the fastest
    journey of a line, some milliseconds up to about 0.1 s, and the clocks of the
    nodes are taken for one: NTP keeps them within milliseconds.
    """

    def __init__(self, echo: Callable[[str], None]) -> None:
        super().__init__(echo)
        self._offset = -self._zero_wall
        self._heard = False

    def heard(self, wall: float) -> None:
        """A line arrives now that was written at ``wall``, seconds since 1970 on its node."""
        offset = self.now() - wall
        self._offset = min(offset, self._offset) if self._heard else offset
        self._heard = True

    def at(self, timestamp: str) -> float:
        return self.of(datetime.fromisoformat(timestamp).timestamp())

    def of(self, wall: float) -> float:
        """A node's time, in seconds since 1970, on this clock."""
        return wall + self._offset

    def place(self, at: float, what: str, pod: str, detail: str = "") -> None:
        """Notes an event that is told later than it happened, where it belongs."""
        self.mark(what, pod, detail)
        self.events.pop()
        bisect.insort(self.events, Event(at, what, pod, detail), key=lambda event: event.at)


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


class Pods:
    """Marks on the timeline what happens to them."""

    def __init__(self, records: list[PodRecord], timeline: ClusterTimeline, folder: Path) -> None:
        #: Every pod there was.
        self.records = records
        #: The last version of every pod that has not ended for good.
        self.present: dict[str, Manifest] = {}
        #: The main container's name.
        self.container = ""
        #: Gets each pod whose container has started, to follow its log.
        self.follow: Callable[[PodRecord], None] = lambda record: None
        #: What the cluster complained of last, by pod.
        self.warnings: dict[str, str] = {}
        self._seen: dict[str, Manifest] = {}
        self._revision = 1
        self._revisions: dict[str, int] = {}
        self._timeline = timeline
        self._folder = folder

    def live(self) -> list[PodRecord]:
        """Those that run and are not being deleted."""
        return [
            record
            for record in self.records
            if (pod := self.present.get(record.name)) and not deleted(pod)
        ]

    def all_serve(self, replicas: int) -> bool:
        """Whether there are so many, each ready, and no others."""
        return len(self.present) == replicas and all(map(serves, self.present.values()))

    def next_revision(self, same_as: int | None = None) -> None:
        """Pods of another template get the next revision, and so do those like ``same_as``."""
        self._revision += 1
        for template, revision in self._revisions.items():
            if revision == same_as:
                self._revisions[template] = self._revision

    def see(self, kind: str, pod: Manifest) -> None:
        name = pod["metadata"]["name"]
        if name not in self._seen:
            if kind == "DELETED" or ended(pod):
                return  # of a time before the rehearsal
            self._record(pod)
        elif name not in self.present:
            return  # an object that outlives its pod
        record = next(record for record in self.records if record.name == name)
        self._note(record, self._seen.get(name, {}), pod)
        self._seen[name] = pod
        self.present[name] = pod
        if kind == "DELETED" or ended(pod):
            del self.present[name]
            self._timeline.mark("gone", name)

    def hear(self, event: Manifest) -> None:
        """An event of the cluster's about a pod: what no status shows, and why it is not well."""
        about = event["involvedObject"]
        name = about.get("name", "")
        if name not in self.present or self.present[name]["metadata"]["uid"] != about.get("uid"):
            return
        reason, message = event.get("reason", ""), event.get("message", "")
        if reason == "FailedPreStopHook":
            self._timeline.mark("preStop ended", name, message or reason)
        elif reason == "Killing" and "probe" in message:
            self._timeline.mark("unwell", name, message)
        if event.get("type") == "Warning":
            self.warnings[name] = f"{reason}: {message}"

    def hopeless(self) -> bool:
        """Whether one waits for what will not come by itself."""
        return any(map(hopeless, self.present.values()))

    def complaint(self) -> tuple[str, Path | None]:
        """What keeps one from being ready, as far as the cluster says, and its log."""
        for record in self.live():
            pod = self.present[record.name]
            if not serves(pod):
                why = trouble(pod) or self.warnings.get(record.name) or "it is not ready"
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
        for what, detail in sightings(old, pod, self.container):
            if what in ("evicted", "restarting") and "evicted" in told:
                continue
            if what == "exited":
                record.exit_code = int(detail.removeprefix("code ").partition(",")[0])
            elif what == "deleted":  # the kubelet deletes it once more at its end, with 0
                record.grace = pod["metadata"].get("deletionGracePeriodSeconds")
            elif what == "restarting":
                record.restarts += 1
            elif what == "started" and what not in told:
                self.follow(record)
            self._timeline.mark(what, record.name, detail)
