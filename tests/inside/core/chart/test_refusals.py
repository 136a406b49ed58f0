"""A wrong value of each kind is refused, with the sentence that says why."""

from typing import Any

import pytest

from dev.generate import rows, schema, stop_seconds
from tests.chart.helm import Helm, HelmError

NLB = "service.beta.kubernetes.io/aws-load-balancer-listener-attributes.TCP-80"


def annotated(behind: str, name: str, value: str) -> Any:
    """An Ingress with an annotation, behind this balancer."""
    ingress = {"enabled": True, "hosts": [{"host": "a"}], "annotations": {name: value}}
    return {"behind": behind, "ingress": ingress}


def alb(name: str, value: str) -> Any:
    return annotated("aws-alb", f"alb.ingress.kubernetes.io/{name}", value)


TOGETHER: list[tuple[str, Any]] = [
    (
        "shutdown.limitSeconds=4 is below the fallback of 5 s (behind: service)",
        {"shutdown": {"limitSeconds": 4}},
    ),
    (
        "shutdown.limitSeconds=19 is below the floor of 20 s (behind: aws-alb)",
        {"behind": "aws-alb", "shutdown": {"limitSeconds": 19}},
    ),
    ("shutdown.marginSeconds=1.9 is below 2", {"shutdown": {"marginSeconds": 1.9}}),
    (f"the times add up to {3607 + stop_seconds()} s", {"shutdown": {"limitSeconds": 3600}}),
    (
        "keepAliveSeconds=60 is not above the 60 s for which ingress-nginx keeps",
        {"behind": "ingress-nginx", "keepAliveSeconds": 60},
    ),
    ("keepAliveSeconds=75 is not above the 3600 s", {"behind": "envoy", "keepAliveSeconds": 75}),
    (
        "requests.timeoutSeconds=19 is above shutdown.limitSeconds=18",
        {"requests": {"timeoutSeconds": 19}},
    ),
    (
        "requests.timeoutSeconds=15 is not below the 15 s for which envoy waits",
        {"behind": "envoy", "requests": {"timeoutSeconds": 15}},
    ),
    (
        "requests.timeoutSeconds=0 is not below the 60 s for which aws-alb waits",
        {"behind": "aws-alb", "requests": {"timeoutSeconds": 0}},
    ),
    (
        "requests.clientTimeoutSeconds=18 is not above the 18 s",
        {"requests": {"clientTimeoutSeconds": 18}},
    ),
    (
        "requests.clientTimeoutSeconds=60 is not above the 60 s",
        {"behind": "ingress-nginx", "requests": {"clientTimeoutSeconds": 60}},
    ),
    (
        "requests.keepAliveLeastSeconds=106 is above keepAliveSeconds=105",
        {"requests": {"keepAliveLeastSeconds": 106}},
    ),
    (
        "requests.keepAliveLeastSeconds=90 is not above the 90 s for which service keeps",
        {"requests": {"keepAliveLeastSeconds": 90}},
    ),
    *[
        (
            f"probes.{name}.timeoutSeconds=11 is longer than its periodSeconds=10",
            {"probes": {name: {"timeoutSeconds": 11, "periodSeconds": 10}}},
        )
        for name in ("readiness", "liveness")
    ],
    (
        "probes.liveness kills the container after 25 s without a response",
        {"probes": {"liveness": {"failureThreshold": 3}}},
    ),
    (
        "rollout.progressDeadlineSeconds=80 is not above the 81 s",
        {"rollout": {"progressDeadlineSeconds": 80}},
    ),
    ("listen.port and listen.managementPort are both 8080", {"listen": {"managementPort": 8080}}),
    (
        "env: APP_SHUTDOWN__GRACE_SECONDS is set by other values",
        {"env": [{"name": "APP_SHUTDOWN__GRACE_SECONDS", "value": "9"}]},
    ),
    ("rollout.maxSurge and rollout.maxUnavailable are both 0", {"rollout": {"maxSurge": "0%"}}),
    (
        "autoscaling.minReplicas=5 is above maxReplicas=4",
        {"autoscaling": {"kind": "hpa", "minReplicas": 5, "maxReplicas": 4}},
    ),
    (
        "autoscaling.kind=hpa has no metric: set cpuPercent, memoryPercent or metrics",
        {
            "autoscaling": {
                "kind": "hpa",
                "cpuPercent": None,
                "triggers": [{"type": "x", "metadata": {}}],
            }
        },
    ),
    (
        "autoscaling.kind=keda has no metric: set cpuPercent, memoryPercent or triggers",
        {"autoscaling": {"kind": "keda", "cpuPercent": None}},
    ),
    (
        "autoscaling.cpuPercent is a percentage of resources.requests.cpu, which is not set",
        {"autoscaling": {"kind": "hpa"}, "resources": {"requests": {"cpu": None}}},
    ),
    (
        "service.loadBalancerClass and loadBalancerSourceRanges need service.type=LoadBalancer",
        {"service": {"loadBalancerClass": "x"}},
    ),
    (
        "service.externalTrafficPolicy needs service.type=NodePort or LoadBalancer",
        {"service": {"externalTrafficPolicy": "Local"}},
    ),
    (
        "deregistration_delay.timeout_seconds=37 is below shutdown.limitSeconds=38",
        alb("target-group-attributes", "a.b=c,deregistration_delay.timeout_seconds=37"),
    ),
    (
        "idle_timeout.timeout_seconds=75 is not below keepAliveSeconds=75",
        alb("load-balancer-attributes", "idle_timeout.timeout_seconds=75"),
    ),
    ("behind=aws-alb needs the target type ip", alb("target-type", "instance")),
    (
        "idle_timeout.seconds=365 is not below keepAliveSeconds=365",
        {
            "behind": "aws-nlb",
            "service": {"annotations": {NLB: "tcp.idle_timeout.seconds=365"}},
        },
    ),
    (
        "connection-draining-timeout=102 is below shutdown.limitSeconds=103",
        annotated("azure-agic", "appgw.ingress.kubernetes.io/connection-draining-timeout", "102"),
    ),
    ("ingress.enabled needs ingress.hosts", {"ingress": {"enabled": True}}),
    ("httpRoute.enabled needs httpRoute.parentRefs", {"httpRoute": {"enabled": True}}),
    *[
        (
            'httpRoute.parentRefs: the Service web needs group: ""',
            {"httpRoute": {"enabled": True, "parentRefs": [{"name": "web", **parent}]}},
        )
        for parent in ({"kind": "Service"}, {"kind": "Service", "group": "core"})
    ],
    ("canary.weight=5 needs canary.release", {"canary": {"weight": 5}}),
    ("canary.release=web is this release itself", {"canary": {"release": "web"}}),
    ("canary.release=other needs httpRoute.enabled", {"canary": {"release": "other"}}),
    (
        "serviceAccount.annotations need serviceAccount.create",
        {"serviceAccount": {"create": False, "annotations": {"a": "b"}}},
    ),
]

TYPOS: list[tuple[str, Any]] = [
    ("APP_LOG__LEVLE", {"config": {"APP_LOG__LEVLE": "debug"}}),
    ("APP_SHUTDOWN__FLOOR_SECONDS", {"config": {"APP_SHUTDOWN__FLOOR_SECONDS": 1}}),
    ("limit", {"resources": {"limit": {"cpu": 1}}}),
    ("nodeAfinity", {"affinity": {"nodeAfinity": {}}}),
    ("imge", {"sidecars": [{"name": "a", "imge": "b"}]}),
    ("effekt", {"tolerations": [{"effekt": "NoSchedule"}]}),
    ("valuefrom", {"env": [{"name": "A", "valuefrom": {}}]}),
    ("watchEndpoint", {"shutdown": {"watchEndpoint": False}}),
    ("trusted.0", {"proxy": {"trusted": ["10.0.0.0/x"]}}),
    ("ipblock", {"networkPolicy": {"api": [{"ipblock": {}}]}}),
    ("podSelektor", {"networkPolicy": {"from": [{"podSelektor": {}}]}}),
    ("port", {"networkPolicy": {"egress": [{"port": 1}]}}),
    ("match", {"httpRoute": {"rules": [{"match": []}]}}),
    ("weight", {"canary": {"weight": 101}}),
    ("release", {"canary": {"release": "Web"}}),
    ("meta", {"autoscaling": {"triggers": [{"type": "cron", "metadata": {}, "meta": {}}]}}),
    ("scaleUpp", {"autoscaling": {"behavior": {"scaleUpp": {}}}}),
    (
        "pathtype",
        {"ingress": {"hosts": [{"host": "a", "paths": [{"path": "/", "pathtype": "x"}]}]}},
    ),
    ("secretname", {"ingress": {"tls": [{"secretname": "a"}]}}),
]


@pytest.mark.parametrize(("sentence", "values"), TOGETHER, ids=[s[:60] for s, _ in TOGETHER])
def test_values_that_are_wrong_together(helm: Helm, sentence: str, values: Any) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(values)
    message = str(refused.value).strip()
    assert sentence in message
    assert message.endswith(".") or "Use --debug" in message


@pytest.mark.parametrize(
    "values",
    [
        alb("target-group-attributes", "deregistration_delay.timeout_seconds=38"),
        alb("load-balancer-attributes", "idle_timeout.timeout_seconds=74"),
        alb("target-type", "ip"),
        annotated("azure-agic", "appgw.ingress.kubernetes.io/connection-draining-timeout", "103"),
        annotated("service", "alb.ingress.kubernetes.io/target-type", "instance"),
    ],
)
def test_annotations_that_fit(helm: Helm, values: Any) -> None:
    helm.render(values)


@pytest.mark.parametrize(("name", "values"), TYPOS, ids=[name for name, _ in TYPOS])
def test_a_typo_deep_inside(helm: Helm, name: str, values: Any) -> None:
    with pytest.raises(HelmError, match=name):
        helm.render(values)


def test_no_value_of_the_chart_can_be_typed_as_a_variable(helm: Helm) -> None:
    for name in helm.render().environment:
        with pytest.raises(HelmError, match="is set by other values"):
            helm.render({"env": [{"name": name, "value": "1"}]})


def at(path: str, value: Any) -> Any:
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


@pytest.mark.parametrize(
    "path", [path for path, *_ in rows(schema(), {}) if path not in ("global", "tags")]
)
def test_no_value_takes_what_it_is_not(helm: Helm, path: str) -> None:
    with pytest.raises(HelmError, match=path.rpartition(".")[2]):
        helm.render(at(path, "not a value!" if "Seconds" in path else -1))


@pytest.mark.parametrize(
    "path", sorted({path.rpartition(".")[0] for path, *_ in rows(schema(), {})})
)
def test_no_object_takes_a_name_it_does_not_know(helm: Helm, path: str) -> None:
    with pytest.raises(HelmError, match="unknownName"):
        helm.render(at(f"{path}.unknownName".lstrip("."), 1))
