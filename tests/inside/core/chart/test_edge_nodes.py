"""values-edge.yaml: pods on nodes with little memory that lose the cloud for days."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chart.cases import values_file
from tests.chart.helm import Helm, Objects, found
from tests.harness import HOST, running

#: Reports to a file whom a process asks for an address or connects to.
WATCH = """
import sys

def seen(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        asked = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        asked = arguments[1][0]
    else:
        return
    with open({path!r}, "a") as file:
        print(event, asked, file=file)

sys.addaudithook(seen)
"""


@pytest.fixture
def objects() -> Objects:
    return found()[0].render(values_file("edge"))


def test_pods_stay_while_the_node_is_out_of_reach(objects: Objects) -> None:
    endless = {
        one["key"]
        for one in objects.pod["tolerations"]
        if one.get("effect") == "NoExecute" and "tolerationSeconds" not in one
    }
    assert endless == {"node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"}
    assert objects.pod["nodeSelector"] == {"node-role.kubernetes.io/edge": ""}


def test_a_pod_starts_without_the_registry_and_the_api_server(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64
    objects = helm.render({**values_file("edge"), "image": {"digest": digest}})
    assert objects.container["imagePullPolicy"] == "IfNotPresent"
    assert objects.container["image"].endswith(f"@{digest}")
#% if cookiecutter.leader_election == "no"
    assert [one["name"] for one in objects.pod["volumes"]] == ["run", "tmp"]
    assert not objects.all("Role")
#% endif
    assert objects.environment["APP_KUBERNETES__SERVICES"] == ""


def test_an_update_needs_no_room_for_a_second_pod(objects: Objects) -> None:
    deployment = objects.one("Deployment")["spec"]
    assert deployment["replicas"] == 1
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}


def test_it_starts_serves_and_stops_asking_nobody_within_its_memory(
    objects: Objects, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    (tmp_path / "sitecustomize.py").write_text(WATCH.format(path=str(asked)), "utf-8")
    if any(name.startswith("APP_LEADER_ELECTION__") for name in objects.environment):
        pytest.skip("a leader is elected with the API server")
    own = ("APP_PORT", "APP_MANAGEMENT_PORT", "APP_CONTROL_SOCKET")
    settings: dict[str, Any] = {}
    settings |= {name: value for name, value in objects.environment.items() if name not in own}
    with running(**settings, APP_HOST=HOST, PYTHONPATH=str(tmp_path)) as service:
        assert "KUBERNETES_SERVICE_HOST" not in service.ready().environment
        for _ in range(20):
            with service.connect() as connection:
                for _ in range(100):
                    assert connection.get("/hello").status == 200
        status = Path(f"/proc/{service.process.pid}/status").read_text("utf-8")
        service.signal()
        assert service.ended() == 0
        assert service.report["decided_by"].startswith("fallback")
    everything = asked.read_text("utf-8").splitlines() if asked.exists() else []
    assert [line for line in everything if line.split()[1] not in (HOST, "None")] == []
    peak = int(re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[0]) / 1024
    limit = objects.container["resources"]["limits"]["memory"]
    assert peak < 0.75 * int(limit.removesuffix("Mi")), "leave room for requests with bodies"


def test_the_watch_sees_who_is_asked(tmp_path: Path) -> None:
    """Or the test before could not fail."""
    (tmp_path / "sitecustomize.py").write_text(WATCH.format(path=str(tmp_path / "asked")), "utf-8")
    code = "import socket\ntry: socket.getaddrinfo('api.invalid', 1)\nexcept OSError: pass"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(tmp_path)}, check=True)
    assert "api.invalid" in (tmp_path / "asked").read_text("utf-8")
