"""A pod of the local cluster finds the API, and itself in the endpoints."""

import asyncio
import json
from pathlib import Path
from typing import Any

from drill.local.cluster import LocalBackend
from drill.plan import Plan
from tests.drill.broken import container
from tests.drill.support import in_loop

PROGRAM = """
import json, os, time, urllib.request
api = "http://{KUBERNETES_SERVICE_HOST}:{KUBERNETES_SERVICE_PORT}".format(**os.environ)
path = "/apis/discovery.k8s.io/v1/namespaces/drill/endpointslices"
entries = []
while not any(entry["conditions"]["ready"] for entry in entries):
    slices = json.load(urllib.request.urlopen(api + path))["items"]
    entries = slices[0]["endpoints"]
print(json.dumps({"me": os.environ["POD_NAME"], "entries": entries}), flush=True)
time.sleep(600)
"""


def asks_the_api(deployment: dict[str, Any]) -> None:
    found = container(deployment)
    found["command"], found["args"] = ["python", "-c", PROGRAM], []
    for name in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        del found[name]
    deployment["spec"]["minReadySeconds"] = 0


def test_a_pod_sees_its_own_endpoint(tmp_path: Path) -> None:
    async def check() -> None:
        plan = Plan(replicas=1, propagation=(0.0, 0.0), patches=(asks_the_api,))
        async with LocalBackend(folder=tmp_path).open(plan) as cluster:
            (pod,) = cluster.pods()
            while not (pod.log.exists() and pod.log.read_text()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            said = json.loads(pod.log.read_text())
        (entry,) = said["entries"]
        assert entry["targetRef"]["name"] == said["me"] == pod.name
        assert entry["addresses"] == [pod.address]
        assert entry["nodeName"] == pod.node

    in_loop(check())
