"""How Prometheus finds the pods, and that it may."""

from typing import Any

import pytest

from tests.chart.cases import PEER
from tests.chart.helm import Helm, HelmError

ALLOWED: Any = {"networkPolicy": {"managementFrom": [PEER]}}


@pytest.mark.parametrize(
    ("monitor", "kind", "endpoints"),
    [("pod", "PodMonitor", "podMetricsEndpoints"), ("service", "ServiceMonitor", "endpoints")],
)
def test_metrics_are_asked_for_where_the_pod_has_them(
    helm: Helm, monitor: str, kind: str, endpoints: str
) -> None:
    assert helm.render().all(kind) == []
    values = {"enabled": True, "monitor": monitor, "labels": {"release": "prometheus"}}
    objects = helm.render({"monitoring": values, **ALLOWED})
    for labelled in (objects.one(kind), objects.one("PrometheusRule")):
        assert labelled["metadata"]["labels"]["release"] == "prometheus"
    (endpoint,) = objects.one(kind)["spec"][endpoints]
    rule = objects.one("NetworkPolicy")["spec"]["ingress"][-1]
    assert (rule["ports"][0]["port"], rule["from"]) == (endpoint["port"], [PEER])
    assert endpoint["port"] in {port["name"] for port in objects.container["ports"]}
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "web-example-service"}]


def test_a_service_monitor_has_a_service_of_its_own_that_knows_stopping_pods(helm: Helm) -> None:
    objects = helm.render({"monitoring": {"enabled": True, "monitor": "service"}, **ALLOWED})
    wanted = objects.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    (service,) = [o for o in objects.all("Service") if o["metadata"]["labels"].items() >= wanted]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] in {port["name"] for port in objects.container["ports"]}
    pods = objects.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert pods >= service["spec"]["selector"].items()


def test_each_part_can_be_left_out(helm: Helm) -> None:
    off = {"enabled": False}
    objects = helm.render(
        {"monitoring": {"enabled": True, "rules": off, "dashboard": off}, **ALLOWED}
    )
    assert objects.all("PodMonitor")
    assert objects.all("PrometheusRule") + objects.all("ConfigMap") == []


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("monitoring.enabled needs networkPolicy.managementFrom", {"enabled": True}),
        (
            "monitoring.scrapeTimeout=1m is longer than monitoring.interval=10s",
            {"scrapeTimeout": "1m"},
        ),
        ("monitoring.interval=3m is longer than 2m", {"interval": "3m"}),
        (
            "latencySeconds=0.3 is not a bound of the histogram",
            {"rules": {"slo": {"latencySeconds": 0.3}}},
        ),
        ("availability", {"rules": {"slo": {"availability": 0.9}}}),
        ("monitor", {"monitor": "node"}),
    ],
)
def test_what_cannot_work_is_refused(helm: Helm, sentence: str, values: Any) -> None:
    with pytest.raises(HelmError, match=sentence):
        helm.render({"monitoring": values})


def test_without_a_network_policy_nobody_needs_to_be_let_in(helm: Helm) -> None:
    objects = helm.render({"monitoring": {"enabled": True}, "networkPolicy": {"enabled": False}})
    assert objects.one("PodMonitor")
