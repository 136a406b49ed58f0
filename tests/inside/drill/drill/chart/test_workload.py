"""A Deployment is read with the defaults and the arithmetic of Kubernetes."""

from typing import Any

import pytest

from drill.chart import Action, Probe, Workload
from drill.errors import DrillError


def deployment(container: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    pod = {"containers": [{"command": ["python"], "args": ["-m", "app"], **(container or {})}]}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    selector = {"matchLabels": {"app": "web"}}
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": selector, "template": template, **spec},
    }


def test_what_is_not_said_is_what_kubernetes_assumes() -> None:
    workload = Workload.read(deployment())
    assert (workload.replicas, workload.namespace, workload.min_ready) == (1, "default", 0)
    assert (workload.max_surge, workload.max_unavailable) == ("25%", "25%")
    assert workload.progress_deadline == 600
    assert (workload.template.grace, workload.template.pre_stop) == (30, None)
    assert workload.template.command == ("python", "-m", "app")


def test_a_probe_is_read_whole() -> None:
    get = {"path": "/readyz", "port": "management", "httpHeaders": [{"name": "A", "value": "b"}]}
    numbers = {
        "initialDelaySeconds": 1,
        "periodSeconds": 2,
        "timeoutSeconds": 3,
        "successThreshold": 4,
        "failureThreshold": 5,
    }
    container = {
        "readinessProbe": {"httpGet": get, **numbers},
        "livenessProbe": {"tcpSocket": {"port": 1}},
    }
    template = Workload.read(deployment(container)).template
    action = Action(http=("/readyz", "management", (("A", "b"),)))
    assert template.readiness == Probe(action, 1, 2, 3, 4, 5)
    assert template.liveness == Probe(Action(tcp=1), 0, 10, 1, 1, 3)
    assert template.startup is None


@pytest.mark.parametrize(
    ("hook", "action"),
    [
        ({"exec": {"command": ["a", "b"]}}, Action(exec=("a", "b"))),
        ({"sleep": {"seconds": 5}}, Action(sleep=5.0)),
        ({"httpGet": {"port": 8080}}, Action(http=("/", 8080, ()))),
    ],
    ids=["exec", "sleep", "httpGet"],
)
def test_a_hook_is_read(hook: dict[str, Any], action: Action) -> None:
    template = Workload.read(deployment({"lifecycle": {"preStop": hook}})).template
    assert template.pre_stop == action


# Deployments, "Max Unavailable" and "Max Surge": the one is rounded down, the other up.
@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "expected"),
    [
        ("25%", "25%", 10, (3, 2)),
        ("25%", 0, 3, (1, 0)),
        ("100%", "0%", 4, (4, 0)),
        (2, 1, 3, (2, 1)),
        (0, "10%", 3, (0, 1)),
        ("0%", "1%", 50, (0, 1)),
    ],
)
def test_surge_and_unavailable(
    surge: int | str, unavailable: int | str, replicas: int, expected: tuple[int, int]
) -> None:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    workload = Workload.read(deployment(strategy={"rollingUpdate": rolling}))
    assert workload.surge(replicas) == expected


@pytest.mark.parametrize(
    ("container", "sentence"),
    [
        ({"command": []}, "has no command"),
        (
            {"readinessProbe": {"grpc": {"port": 1}}},
            "the readiness probe has grpc",
        ),
        (
            {"livenessProbe": {"httpGet": {"port": 1, "scheme": "HTTPS"}}},
            "the liveness probe uses TLS",
        ),
        ({"lifecycle": {"preStop": {"tcpSocket2": {}}}}, "the preStop hook has tcpSocket2"),
    ],
)
def test_what_the_drill_cannot_do_is_said(container: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DrillError, match=sentence):
        Workload.read(deployment(container))


def test_a_strategy_that_stops_everything_is_refused() -> None:
    with pytest.raises(DrillError, match="'Recreate'"):
        Workload.read(deployment(strategy={"type": "Recreate"}))


def test_a_port_is_found_by_name_or_number() -> None:
    container = {"ports": [{"name": "http", "containerPort": 8080}]}
    template = Workload.read(deployment(container)).template
    assert [template.port(port) for port in ("http", 8081, "8082")] == [8080, 8081, 8082]
    with pytest.raises(DrillError, match="no port named 'grpc': it has http"):
        template.port("grpc")
