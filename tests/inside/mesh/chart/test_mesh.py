"""What the chart does for the mesh's proxy in its pods."""

#% if cookiecutter.mesh == "istio"
import json
#% endif
import math
from typing import Any

import pytest
import yaml

from tests.chart.cases import PEER
from tests.chart.helm import CHART, Helm, HelmError, Objects

BEHIND: dict[str, Any] = yaml.safe_load((CHART / "files/behind.yaml").read_text("utf-8"))
OFF: Any = {"mesh": {"enabled": False}}
CLASSIC: Any = {"mesh": {"nativeSidecar": False}}


def annotations(objects: Objects) -> dict[str, str]:
    pod: Any = objects.one("Deployment")["spec"]["template"]
    return dict(pod["metadata"]["annotations"])


def longest_stop(objects: Objects) -> float:
    """Seconds until the service has ended at the latest."""
    read = {k: float(v) for k, v in objects.environment.items() if k.startswith("APP_SHUTDOWN__")}
    parts = ("LIMIT", "STREAM_SPREAD", "STOP")
    return sum(read[f"APP_SHUTDOWN__{part}_SECONDS"] for part in parts) + 2


def test_without_the_mesh_nothing_of_it_is_left(helm: Helm) -> None:
    text = helm.text(OFF, "--show-only", "templates/deployment.yaml")
    assert "istio" not in text.replace("127.0.0.6", "")
    assert "linkerd" not in text


def test_the_proxy_is_a_native_sidecar_unless_it_cannot_be(helm: Helm) -> None:
#% if cookiecutter.mesh == "istio"
    name = "sidecar.istio.io/nativeSidecar"
#% else
    name = "config.linkerd.io/proxy-enable-native-sidecar"
#% endif
    assert annotations(helm.render())[name] == "true"
    assert annotations(helm.render(CLASSIC))[name] == "false"


@pytest.mark.parametrize(
    "shutdown", [{}, {"limitSeconds": 60}, {"stopSeconds": 7.5, "marginSeconds": 3.5}]
)
def test_another_proxy_comes_before_the_service_and_outlives_it(helm: Helm, shutdown: Any) -> None:
    objects = helm.render({**CLASSIC, "shutdown": shutdown})
    given, needed = annotations(objects), math.ceil(longest_stop(objects))
#% if cookiecutter.mesh == "istio"
    config = json.loads(given["proxy.istio.io/config"])
    assert config["holdApplicationUntilProxyStarts"] is True
    stays = int(config["terminationDrainDuration"].removesuffix("s"))
    assert config["drainDuration"] == config["terminationDrainDuration"]
#% else
    assert given["config.linkerd.io/proxy-await"] == "enabled"
    stays = int(given["config.alpha.linkerd.io/proxy-wait-before-exit-seconds"])
#% endif
    assert stays == needed
    assert stays < objects.pod["terminationGracePeriodSeconds"]


def test_probes_and_metrics_go_past_the_proxy(helm: Helm) -> None:
    objects = helm.render({"listen": {"managementPort": 9100}})
#% if cookiecutter.mesh == "istio"
    assert annotations(objects)["traffic.sidecar.istio.io/excludeInboundPorts"] == "9100"
    # Or the kubelet would ask the proxy's agent instead.
    assert annotations(objects)["sidecar.istio.io/rewriteAppHTTPProbers"] == "false"
#% else
    assert annotations(objects)["config.linkerd.io/skip-inbound-ports"] == "9100"
#% endif
    ports = {port["name"]: port["containerPort"] for port in objects.container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert ports[objects.container[probe]["httpGet"]["port"]] == 9100
    assert list(objects.container["lifecycle"]["preStop"]) == ["exec"]


def test_the_api_server_can_be_reached_past_the_proxy(helm: Helm) -> None:
    values = {"mesh": {"apiServer": ["10.96.0.1/32", "192.0.2.7/32"]}}
#% if cookiecutter.mesh == "istio"
    name = "traffic.sidecar.istio.io/excludeOutboundIPRanges"
#% else
    name = "config.linkerd.io/skip-subnets"
#% endif
    assert annotations(helm.render(values))[name] == "10.96.0.1/32,192.0.2.7/32"
    assert name not in annotations(helm.render())


def test_the_owners_annotations_win(helm: Helm) -> None:
    name = sorted(set(annotations(helm.render())) - {"kubectl.kubernetes.io/default-container"})[0]
    given = annotations(helm.render({"podAnnotations": {name: "mine", "other": "too"}}))
    assert (given[name], given["other"]) == ("mine", "too")


@pytest.mark.parametrize("router", BEHIND)
def test_the_longer_time_counts(helm: Helm, router: str) -> None:
    with_mesh = helm.render({"behind": router}).environment
    without = helm.render({"behind": router, **OFF}).environment
#% if cookiecutter.mesh == "istio"
    proxy = BEHIND["istio"]
#% else
    proxy = {"floor": 0, "slack": 2, "fallback": 5, "idle": 3}
#% endif
    for name in ("floor", "slack", "fallback"):
        variable = f"APP_SHUTDOWN__{name.upper()}_SECONDS"
        assert float(without[variable]) == BEHIND[router][name]
        assert float(with_mesh[variable]) == max(BEHIND[router][name], proxy[name])
    idle = max(BEHIND[router]["idle"], proxy["idle"])
    assert int(with_mesh["APP_KEEP_ALIVE_SECONDS"]) == idle + 15
    assert with_mesh["APP_PROXY__HEADERS"] == without["APP_PROXY__HEADERS"]


#% if cookiecutter.mesh == "istio"
def test_the_proxy_is_named_where_its_time_is_the_longer_one(helm: Helm) -> None:
    with pytest.raises(HelmError, match="3600 s for which the proxy of the mesh keeps"):
        helm.render({"keepAliveSeconds": 90})
    with pytest.raises(HelmError, match="90 s for which service keeps"):
        helm.render({"keepAliveSeconds": 90, **OFF})


#% endif
def test_pods_do_not_ask_who_answers(helm: Helm) -> None:
    values: Any = {"networkPolicy": {"from": [PEER], "egress": []}}
    assert helm.render(OFF).environment["APP_KUBERNETES__SERVICES"] == "web-example-service:80"
    objects = helm.render(values)
    assert objects.environment["APP_KUBERNETES__SERVICES"] == "web-example-service"
    rules = objects.one("NetworkPolicy")["spec"]["egress"]
    assert not [peer for rule in rules for peer in rule.get("to", ()) if "podSelector" in peer]


def test_the_proxy_may_reach_its_control_plane(helm: Helm) -> None:
    values: Any = {"networkPolicy": {"egress": []}, "mesh": {"namespace": "planes"}}
    off: Any = {**values, "mesh": {"namespace": "planes", "enabled": False}}
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "planes"}},
    }
    rules = helm.render(values).one("NetworkPolicy")["spec"]["egress"]
    (rule,) = [rule for rule in rules if peer in rule["to"]]
    ports = {port["port"] for port in rule["ports"]}
#% if cookiecutter.mesh == "istio"
    assert ports == {15012}
#% else
    assert ports == {8080, 8086, 8090}
#% endif
    assert "planes" not in str(helm.render(off))


#% if cookiecutter.mesh == "linkerd"
def test_proxies_may_reach_each_other(helm: Helm) -> None:
    values: Any = {"networkPolicy": {"from": [PEER]}}
    rules = helm.render(values).one("NetworkPolicy")["spec"]["ingress"]
    (rule,) = [rule for rule in rules if rule["ports"][0]["port"] == 4143]
    assert rule["from"] == [PEER]


#% endif
@pytest.mark.parametrize(("values", "proxied"), [({}, True), (CLASSIC, False), (OFF, False)])
def test_the_test_pod_has_a_proxy_if_it_can_end(helm: Helm, values: Any, proxied: bool) -> None:
    (pod,) = [one for one in helm.render(values) if one["kind"] == "Pod"]
    assert ("sidecar.istio.io/inject" not in pod["metadata"]["annotations"]) is proxied
    assert ("linkerd.io/inject" not in pod["metadata"]["annotations"]) is proxied


@pytest.mark.parametrize("address", ["10.96.0.1", "kubernetes"])
def test_an_address_that_is_no_network_is_refused(helm: Helm, address: str) -> None:
    with pytest.raises(HelmError, match="apiServer"):
        helm.render({"mesh": {"apiServer": [address]}})
