"""The load in a cluster: a Job with the service's own image that calls the Service.

The load's sources are mounted from a ConfigMap. Its log is read back into a ledger.
"""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import drill
from drill.backend import LoadResult
from drill.chart import Manifest
from drill.cluster import watch
from drill.cluster.api import MERGE, Api, ApiError
from drill.cluster.pods import ClusterTimeline, ended, waiting_reason
from drill.cluster.resources import LABEL, Resources
from drill.errors import DrillError
from drill.load.__main__ import Options
from drill.load.ledger import Job, Kind, Ledger, Lost, Reason, Sample

PACKAGE = Path(drill.__file__).parent
#: The modules that ``drill.load`` needs.
SOURCES = ("__init__.py", "errors.py", "record.py", "load/*.py")
MOUNT = "/drill"
OPTIONS = "load.json"

#: For requests in flight at the end: the longest timeout of an answer, plus a reserve.
GRACE_SECONDS = 60
#: If the drill is killed, the Job ends by itself and is removed.
LIFE_SECONDS = 3600
AFTERLIFE_SECONDS = 300

#: Copied from the service's pods: where they may run and how to pull their image.
PLACING = ("imagePullSecrets", "nodeSelector", "tolerations")
#: What the restricted Pod Security Standard requires of a container.
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def sources() -> dict[str, str]:
    """Return the load's source files: paths below PYTHONPATH, and texts."""
    files = sorted(path for pattern in SOURCES for path in PACKAGE.glob(pattern))
    return {f"drill/{path.relative_to(PACKAGE)}": path.read_text("utf-8") for path in files}


def config_map(name: str, options: Options) -> Manifest:
    """Return the ConfigMap of sources. Its keys allow no slash: a dot replaces it."""
    data = {path.replace("/", "."): text for path, text in sources().items()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {**data, OPTIONS: options.dump()},
    }


def job(name: str, deployment: Manifest, release: str) -> Manifest:
    """Return the Job, placed like the service's pods and admitted by the NetworkPolicy."""
    selector = deployment["spec"]["selector"]["matchLabels"]
    labels = {
        LABEL: release,
        # The policy admits the release's test pods; the Service does not select them.
        "app.kubernetes.io/name": f"{selector.get('app.kubernetes.io/name', 'drill')}-test",
        "app.kubernetes.io/instance": selector.get("app.kubernetes.io/instance", release),
    }
    items = [{"key": path.replace("/", "."), "path": path} for path in sources()]
    volume = {
        "name": "drill",
        "configMap": {"name": name, "items": [*items, {"key": OPTIONS, "path": OPTIONS}]},
    }
    pod = {
        **bare_pod(deployment, "load", ["python", "-m", "drill.load", f"{MOUNT}/{OPTIONS}"]),
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "volumes": [volume],
    }
    pod["containers"][0] |= {
        "env": [
            {"name": "PYTHONPATH", "value": MOUNT},
            {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
        ],
        "volumeMounts": [{"name": "drill", "mountPath": MOUNT, "readOnly": True}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": LIFE_SECONDS,
            "ttlSecondsAfterFinished": AFTERLIFE_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def bare_pod(deployment: Manifest, name: str, command: list[str]) -> Manifest:
    """Return the spec of a restricted pod that runs a command in the service's image."""
    template = deployment["spec"]["template"]["spec"]
    service = template["containers"][0]
    user = {
        key: value
        for key, value in (template.get("securityContext") or {}).items()
        if key in ("runAsUser", "runAsGroup")
    }
    own = (service.get("securityContext") or {}).get("runAsUser")
    container = {
        "name": name,
        "image": service["image"],
        "imagePullPolicy": service.get("imagePullPolicy", "IfNotPresent"),
        "command": command,
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": RESTRICTED,
    }
    copied = {key: template[key] for key in PLACING if key in template}
    return {
        **copied,
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **user,
            **({"runAsUser": own} if own else {}),
        },
        "containers": [container],
    }


class Feed:
    """Reads the load's lines, each once, into a ledger."""

    def __init__(self, timeline: ClusterTimeline) -> None:
        self.begun = asyncio.Event()
        #: The final entry: "end", or "failed" with the reason.
        self.last: dict[str, Any] | None = None
        #: Other lines, for example a traceback.
        self.noise: list[str] = []
        self._lines = 0
        self._entries: list[dict[str, Any]] = []
        self._timeline = timeline

    def take(self, line: str) -> None:
        try:
            entry = json.loads(line)
            number, wall, entries = int(entry["n"]), float(entry["at"]), list(entry["of"])
        except (ValueError, KeyError, TypeError):
            self.noise.append(line)
            return
        self._timeline.heard(wall)
        if number < self._lines:
            return
        if number > self._lines:
            raise DrillError(
                f"lines {self._lines} to {number - 1} of the load's log are missing: "
                "lower --rate, or raise the node's containerLogMaxSize."
            )
        self._lines += 1
        self._entries += entries
        self.begun.set()
        if entries[-1]["what"] in ("end", "failed"):
            self.last = entries[-1]

    def result(self) -> LoadResult:
        """Return the ledger. Raises DrillError if the load failed or its end is missing."""
        if self.last is None or self.last["what"] == "failed":
            said = self.last["text"] if self.last else " ".join(self.noise[-3:])
            raise DrillError(f"the load ended early: {said or 'its log is empty'}.")
        of = self._timeline.of
        ledger = Ledger(self._timeline.now)
        for entry in self._entries:
            at = of(entry["at"])
            if entry["what"] in ("served", "lost"):
                reason = entry.get("reason")
                lost = Lost(Reason(reason[0]), reason[1]) if reason else None
                kind = Kind(entry["kind"])
                ledger.samples.append(Sample(kind, entry["pod"], of(entry["began"]), at, lost))
            elif entry["what"] == "accepted":
                ledger.jobs.append(Job(entry["job"], entry["pod"], at))
        for name in ("messages", "streams_left_open"):
            counts = {Kind(kind): count for kind, count in self.last[name].items()}
            setattr(ledger, name, Counter(counts))
        return LoadResult(ledger, self.last["late"])


#: From creating the Job to the first request, including scheduling and pulling the image.
START_SECONDS = 180.0
#: From the signal to the last line.
STOP_SECONDS = GRACE_SECONDS + 15.0
PAUSE_SECONDS = 0.2


class ClusterLoad:
    """The load in the cluster, from ``start`` to ``stop``."""

    def __init__(
        self, api: Api, namespace: str, resources: Resources, timeline: ClusterTimeline
    ) -> None:
        self._api = api
        self._core = f"/api/v1/namespaces/{namespace}"
        self._namespace = namespace
        self._resources = resources
        self._feed = Feed(timeline)
        self._reading: asyncio.Task[None] | None = None
        self._pod = ""
        #: Why the pod does not start, as far as known.
        self._trouble = ""

    async def start(self, release: str, deployment: Manifest, options: Options) -> None:
        """Create the Job; return when it sends requests."""
        name = f"{release}-load"
        config = await self._resources.apply(config_map(name, options), release)
        made = await self._resources.apply(job(name, deployment, release), release)
        await self._hand_over(config, made)
        try:
            async with asyncio.timeout(START_SECONDS):
                self._pod = await self._started(name)
                self._reading = asyncio.create_task(self._read())
                begun = asyncio.create_task(self._feed.begun.wait())
                try:
                    await asyncio.wait([self._reading, begun], return_when="FIRST_COMPLETED")
                finally:
                    begun.cancel()
        except TimeoutError:
            see = f"see `{self._resources.kubectl(f'describe job/{name}')}`"
            raise DrillError(
                f"the load did not begin within {START_SECONDS:g} s: {self._trouble or see}."
            ) from None
        if self._reading.done():
            await self._reading
            self._feed.result()  # raises with the reason

    async def stop(self) -> LoadResult:
        """Delete the pod, which sends SIGTERM, and read its log to the end."""
        assert self._reading is not None
        await self._resources.remove(f"{self._core}/pods/{self._pod}")
        done, _ = await asyncio.wait([self._reading], timeout=STOP_SECONDS)
        for reading in done:
            reading.result()
        return self._feed.result()

    async def cancel(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _hand_over(self, config: Manifest, made: Manifest) -> None:
        """Let the Job own the ConfigMap, so that it is removed even if the drill is killed."""
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": made["metadata"]["name"],
            "uid": made["metadata"]["uid"],
        }
        path = f"{self._core}/configmaps/{config['metadata']['name']}"
        body = {"metadata": {"ownerReferences": [owner]}}
        await self._api.repeat("PATCH", path, body=body, content=MERGE)

    async def _started(self, name: str) -> str:
        """Wait until the Job's container has run; return the pod's name."""
        selector = f"batch.kubernetes.io/job-name={name}"
        while True:
            pods = (await self._api.get(f"{self._core}/pods", labelSelector=selector))["items"]
            for pod in pods:
                if pod.get("status", {}).get("phase") == "Running" or ended(pod):
                    return str(pod["metadata"]["name"])
                self._trouble = waiting_reason(pod)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self) -> None:
        """Read the log to its last line, from the beginning after each lost connection."""
        path = f"{self._core}/pods/{self._pod}"
        while True:
            over = await self._is_over(path)
            self._feed.noise.clear()
            async for line in watch.follow(self._api, f"{path}/log", "load", lambda: True):
                self._feed.take(line)
            if over or self._feed.last is not None:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _is_over(self, path: str) -> bool:
        try:
            return ended(await self._api.get(path))
        except ApiError as error:
            if error.status != 404:
                raise
            return True
