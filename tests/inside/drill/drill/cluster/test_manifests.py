"""What the drill puts into a cluster is what the API takes, and may do no more than it must."""

from typing import Any

import pytest

pytest.importorskip("kubernetes", reason="the package `kubernetes` is not installed")

from drill.cluster import load
from drill.load.__main__ import Options
from tests.drill.cluster.standin import ROUTES, Run, Standin

kubernetes_validate = pytest.importorskip("kubernetes_validate")
Json = dict[str, Any]
VERSION = "1.36"


def test_every_object_is_valid(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        async with standin.backend("made").open(standin.plan()) as cluster:
            await cluster.start_load()
            await cluster.crash(cluster.pods()[0])
            await cluster.stop_load()
        applied = standin.server.applied
        kinds = {found["kind"] for found in applied}
        assert {"Namespace", "Job", "ConfigMap", "Pod", "Deployment", "Service"} <= kinds
        for found in applied:
            kubernetes_validate.validate(found, VERSION, strict=True)
            assert found["metadata"]["labels"]["drill/release"].startswith("drill-")

    on_standin(test)


def deployment(**pod: Any) -> Json:
    container = {"name": "app", "image": "s:1", "imagePullPolicy": "Never"}
    return {
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "s"}},
            "template": {"spec": {"containers": [container], **pod}},
        },
    }


def test_the_load_keeps_the_restricted_pod_security_standard() -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    made = load.job("load", deployment(securityContext={"runAsUser": 10001, "fsGroup": 5}), "r")
    pod = made["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} == {"configMap"}
    assert not {"hostPID", "hostNetwork", "hostIPC"} & set(pod)


def test_the_load_runs_where_the_service_runs_and_is_not_one_of_its_pods() -> None:
    placing = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
    }
    made = load.job("load", deployment(**placing), "r")["spec"]["template"]
    assert {key: made["spec"][key] for key in placing} == placing
    assert made["spec"]["containers"][0]["image"] == "s:1"
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Never"
    assert made["metadata"]["labels"]["app.kubernetes.io/name"] == "s-test"


def test_the_program_fits_into_a_config_map() -> None:
    made = load.config_map("load", Options("10.0.0.1", 80, 150, 6, ROUTES))
    assert sum(len(text.encode()) for text in made["data"].values()) < 500_000  # 1 MiB is the limit
