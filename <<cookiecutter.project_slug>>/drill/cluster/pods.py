"""The pods of a release as the watch shows them, their records and their logs."""

from collections.abc import Callable
from pathlib import Path

from drill.backend import Manifest
from drill.cluster.clock import ClusterTimeline
from drill.cluster.sightings import deleted, ended, hopeless, serves, sightings, trouble
from drill.record import PodRecord


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
