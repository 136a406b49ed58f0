"""SIGKILL to a container's first process.

Nothing in a container can kill its PID 1, nor does the API know a signal. A pod
on the same node that sees the node's processes (hostPID) can, and it needs no
other right: it runs as the same user. Pod Security of level "privileged" is
what allows hostPID; where it is not allowed the scenario cannot be run.
"""

import asyncio
import secrets
from typing import Any

from drill.backend import Manifest
from drill.cluster import job, logs
from drill.cluster.api import Api, ApiError
from drill.cluster.resources import Resources
from drill.cluster.sightings import ended, trouble
from drill.errors import DrillError

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


async def kill(
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
        **job.bare_pod(deployment, "kill", ["python", "-c", PROGRAM, container]),
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
    said = [line async for line in logs.follow(api, f"{path}/log", "kill", lambda: True)]
    if not said or not said[-1].startswith("killed at "):
        raise DrillError(f"{pod['metadata']['name']} could not be killed: {' '.join(said[-1:])}.")
    return float(said[-1].removeprefix("killed at "))
