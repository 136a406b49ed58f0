"""What acts on a ``Store``: Deployments, endpoints, Jobs and a kubelet, all as small as can be.

Pods of Deployments are no processes; those of Jobs are.
"""

import asyncio
import hashlib
import json
import os
import signal
import sys
import time
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from tests.drill.cluster.apiserver import ApiServer
from tests.drill.cluster.endpoints import slice_of
from tests.drill.cluster.podstate import has_ended, hash_of, is_ready, ready_path
from tests.drill.cluster.store import Json, Store, now, selected

#: Seconds from the creation, and from the deletion.
STARTED, READY = 0.05, 0.15
STOPPED, GONE = 0.3, 0.1


@dataclass
class Controllers:
    server: ApiServer
    folder: Path
    #: The nodes, in turn, for pods that name none.
    nodes: tuple[str, ...] = ("node-1", "node-2")
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    #: When each pod began to start or to stop.
    since: dict[str, float] = field(default_factory=dict)
    count: int = 0
    #: Why containers wait instead of starting.
    waits: str = ""

    def __post_init__(self) -> None:
        self.store: Store = self.server.store
        self.tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        while True:
            for path, found in self.store.all("deployments"):
                self._deployment(path, found)
            for path, found in self.store.all("jobs"):
                await self._job(path, found)
            for path, found in self.store.all("pods"):
                self._pod(path, deepcopy(found))
            for path, found in self.store.all("services"):
                self._slice(path, found)
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for process in self.processes.values():
            if process.returncode is None:
                process.kill()
            await process.wait()

    def pods_of(self, owner: str) -> dict[str, Json]:
        return {
            path: found
            for path, found in self.store.all("pods")
            if found["metadata"].get("owner") == owner
            and found.get("status", {}).get("phase") != "Failed"
        }

    def _deployment(self, path: str, found: Json) -> None:
        spec = found["spec"]
        text = json.dumps(spec["template"], sort_keys=True).encode()
        template = hashlib.sha256(text).hexdigest()[:8]
        active = {
            p: pod
            for p, pod in self.pods_of(path).items()
            if "deletionTimestamp" not in pod["metadata"]
        }
        new = [p for p, pod in active.items() if hash_of(pod) == template]
        old = [p for p in active if p not in new]
        ready = [p for p, pod in active.items() if is_ready(pod)]
        wanted = spec["replicas"]
        if len(new) < wanted and len(active) <= wanted:
            self._create(path, found, template)
        elif old and (len(ready) > wanted or (len(active) > wanted and old[0] not in ready)):
            self.server._delete(old[0])
        elif not old and len(new) > wanted:
            self.server._delete(new[-1])
        self.store.status(
            path,
            observedGeneration=found["metadata"]["generation"],
            replicas=len(active),
            updatedReplicas=len(new),
            availableReplicas=len(ready),
        )

    def _create(self, owner: str, found: Json, template: str) -> None:
        self.count += 1
        name = f"{found['metadata']['name']}-{template}-{self.count}"
        pod = deepcopy(found["spec"]["template"])
        pod["metadata"] |= {"name": name, "owner": owner}
        pod["metadata"]["labels"] = {**pod["metadata"]["labels"], "pod-template-hash": template}
        open_nodes = [n for n in self.nodes if self._takes_pods(n)]
        if open_nodes:
            pod["spec"]["nodeName"] = open_nodes[self.count % len(open_nodes)]
        self.store.put(
            f"{owner.split('/deployments')[0].replace('/apis/apps/v1', '/api/v1')}/pods/{name}", pod
        )

    def _takes_pods(self, node: str) -> bool:
        return not self.store.objects[f"/api/v1/nodes/{node}"]["spec"].get("unschedulable")

    def _pod(self, path: str, pod: Json) -> None:
        if pod["metadata"].get("owner", path) not in self.store.objects:
            self.server._delete(path)  # garbage: its owner is gone
            if path not in self.store.objects:
                return
            pod = deepcopy(self.store.objects[path])
        if pod["spec"].get("hostPID"):
            self._killer(path, pod)
            return
        if path in self.processes:
            self._process(path, pod)
            return
        if pod.get("status", {}).get("phase") == "Failed" or "nodeName" not in pod["spec"]:
            return
        stopping = "deletionTimestamp" in pod["metadata"] or "activeDeadlineSeconds" in pod["spec"]
        key = f"{path} stops" if stopping else path
        age = time.monotonic() - self.since.setdefault(key, time.monotonic())
        (self._stopping if stopping else self._starting)(path, pod, age)

    def _stopping(self, path: str, pod: Json, age: float) -> None:
        deleted = "deletionTimestamp" in pod["metadata"]
        if not deleted and is_ready(pod):
            self._write(path, pod, ready=False)
        elif age > STOPPED and not has_ended(pod):  # before it is gone, however late it is
            self._end(path, pod)
        elif deleted and age > STOPPED + GONE:
            pod["metadata"]["deletionGracePeriodSeconds"] = 0  # as the kubelet's own deletion
            self.store.put(path, pod)
            self.store.remove(path)

    def _starting(self, path: str, pod: Json, age: float) -> None:
        if self.waits:
            waiting = {"name": "app", "state": {"waiting": {"reason": self.waits, "message": "so"}}}
            self.store.status(path, phase="Pending", containerStatuses=[waiting])
        elif "containerStatuses" not in pod.get("status", {}):  # first, however late it is
            if age > STARTED:
                self.count += 1
                self.say(path, {"event": "phase", "phase": "ready", "timestamp": wall()})
                self._write(path, pod, ready=False, started=f"containerd://c{self.count}")
        elif age > READY and not is_ready(pod) and ready_path(pod) != "/never-ready":
            self._write(path, pod, ready=True)

    def _write(
        self, path: str, pod: Json, *, ready: bool, started: str = "", **more: object
    ) -> None:
        status = pod.get("status", {})
        container = {
            "name": "app",
            "restartCount": 0,
            **(status.get("containerStatuses") or [{}])[0],
            **more,
        }
        if started:
            container |= {"containerID": started, "state": {"running": {"startedAt": now()}}}
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        self.store.status(
            path,
            phase="Running",
            podIP="127.0.0.1",
            containerStatuses=[container],
            conditions=[condition],
        )

    def _end(self, path: str, pod: Json) -> None:
        self.say(path, {"event": "stopped", "timestamp": wall()})
        container = (
            dict(pod["status"]["containerStatuses"][0]) if "status" in pod else {"name": "app"}
        )
        ended = {"exitCode": 0, "reason": "Completed", "containerID": container.get("containerID")}
        container["state"] = {"terminated": ended}
        condition = {"type": "Ready", "status": "False"}
        self.store.status(path, containerStatuses=[container], conditions=[condition])
        if "deletionTimestamp" not in pod["metadata"]:
            self.store.status(path, phase="Failed", reason="DeadlineExceeded")

    def _killer(self, path: str, pod: Json) -> None:
        """Does what its program would: the container whose ID it is given starts again."""
        if pod.get("status"):
            return
        container = pod["spec"]["containers"][0]["command"][-1]
        for other, victim in list(self.store.all("pods")):
            statuses = victim.get("status", {}).get("containerStatuses") or [{}]
            if statuses[0].get("containerID") == f"containerd://{container}":
                self.say(path, f"killed at {time.time()}")
                ended = {
                    "exitCode": 137,
                    "reason": "Error",
                    "containerID": statuses[0]["containerID"],
                }
                self.count += 1
                self.since[other] = time.monotonic()
                self._write(
                    other,
                    deepcopy(victim),
                    ready=False,
                    started=f"containerd://c{self.count}",
                    restartCount=1,
                    lastState={"terminated": ended},
                )
        done = {"name": "kill", "state": {"terminated": {"exitCode": 0}}}
        self.store.status(path, phase="Succeeded", containerStatuses=[done])

    async def _job(self, path: str, found: Json) -> None:
        if found.get("status"):
            return
        self.store.status(path, active=1)
        name = f"{found['metadata']['name']}-abcde"
        pod = deepcopy(found["spec"]["template"])
        pod["metadata"] = {**pod["metadata"], "name": name, "owner": path}
        pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] = found["metadata"]["name"]
        space = path.split("/jobs")[0].replace("/apis/batch/v1", "/api/v1")
        where = f"{space}/pods/{name}"
        spec = pod["spec"]
        volume, container = spec["volumes"][0], spec["containers"][0]
        config = self.store.objects[f"{space}/configmaps/{volume['configMap']['name']}"]
        root = self.folder / name
        for item in volume["configMap"]["items"]:
            target = root / item["path"]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(config["data"][item["key"]])
        mount = container["volumeMounts"][0]["mountPath"]
        assert container["command"][0] == "python"
        words = [word.replace(mount, str(root)) for word in container["command"][1:]]
        variables = {v["name"]: v["value"].replace(mount, str(root)) for v in container["env"]}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            env={"PATH": os.environ["PATH"], **variables},
            cwd="/",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.processes[where] = process
        running = {"name": "load", "state": {"running": {}}, "containerID": "containerd://load"}
        pod["status"] = {"phase": "Running", "containerStatuses": [running]}
        self.store.put(where, pod)
        self.tasks.append(asyncio.create_task(self._listen(where, process)))

    async def _listen(self, path: str, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self.say(path, line.decode().rstrip("\n"))
        ended = {"exitCode": await process.wait()}
        state = {"name": "load", "state": {"terminated": ended}}
        phase = "Failed" if ended["exitCode"] else "Succeeded"
        self.store.status(path, phase=phase, containerStatuses=[state])

    def _process(self, path: str, pod: Json) -> None:
        if pod["status"]["phase"] != "Running":
            if (
                "deletionTimestamp" in pod["metadata"]
                or pod["metadata"]["owner"] not in self.store.objects
            ):
                self.store.remove(path)
        elif "deletionTimestamp" in pod["metadata"] and path not in self.since:
            self.since[path] = time.monotonic()
            self.processes[path].send_signal(signal.SIGTERM)

    def _slice(self, path: str, service: Json) -> None:
        selector = ",".join(f"{k}={v}" for k, v in service["spec"]["selector"].items())
        running = [
            pod
            for _, pod in self.store.all("pods")
            if pod.get("status", {}).get("phase") == "Running" and selected(pod, selector, "")
        ]
        space, name = path.split("/services/")
        where = f"{space.replace('/api/v1', '/apis/discovery.k8s.io/v1')}/endpointslices/{name}-x"
        self.store.put(where, slice_of(name, running))

    def say(self, path: str, line: object) -> None:
        """A line in a pod's log."""
        text = line if isinstance(line, str) else json.dumps(line)
        self.server.logs.setdefault(path, []).append((wall(), text))


def wall() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
