"""The Rollout: the Deployment's pods, its steps, and queries that judge a new version."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.generate import CHART
from tests.chart.helm import PROJECT, Helm, HelmError, Manifest, Objects, found

PROMTOOL = shutil.which("promtool")
PROMETHEUS = "http://prometheus-operated.monitoring:9090"
ROUTE: Any = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}}
NAME = "web-example-service"
VALUES = (CHART / "values.yaml").read_text("utf-8")


def rollouts(traffic: str = "gateway", **more: Any) -> Any:
    given = {"enabled": True, "traffic": traffic, "analysis": {"prometheus": PROMETHEUS}}
    return ROUTE | {"argoRollouts": given | more}


def canary(objects: Objects) -> Manifest:
    found: Manifest = objects.one("Rollout")["spec"]["strategy"]["canary"]
    return found


def test_without_it_the_chart_has_a_deployment_and_no_word_of_argo(helm: Helm) -> None:
    text = helm.text(ROUTE | {"autoscaling": {"kind": "keda", "cpuPercent": 50}})
    assert "argoproj" not in text and "-new" not in text and "rollouts" not in text
    assert "kind: Deployment" in text


def test_the_pods_are_those_of_the_deployment(helm: Helm) -> None:
    before, after = helm.render(ROUTE), helm.render(rollouts("pods"))
    assert not after.all("Deployment")
    one, other = (before.one("Deployment")["spec"], after.one("Rollout")["spec"])
    assert one["selector"] == other["selector"] and one["replicas"] == other["replicas"]
    pods = json.dumps(one["template"])
    assert json.dumps(other["template"]).replace("rollouts-pod-", "pod-") == pods
    for rule in other["template"]["spec"]["topologySpreadConstraints"]:
        assert rule["matchLabelKeys"] == ["rollouts-pod-template-hash"], "Argo's own label"
    for name in ("minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit"):
        assert one[name] == other[name]
    assert other["progressDeadlineAbort"] is True


@pytest.mark.skipif("\ntls:" not in VALUES, reason="the project has no TLS")
def test_a_gateway_speaks_tls_to_both_versions(helm: Helm) -> None:
    tls = {"tls": {"secretName": "web-tls", "hostname": "web"}, "service": {"port": 443}}
    without_proxy = {"mesh": {"enabled": False}} if "\nmesh:" in VALUES else {}
    objects = helm.render(rollouts() | tls | without_proxy)
    services = {one["metadata"]["name"]: one["spec"]["ports"] for one in objects.all("Service")}
    assert [ports[0]["appProtocol"] for ports in services.values()] == ["https", "https"]
    targets = objects.one("BackendTLSPolicy")["spec"]["targetRefs"]
    assert sorted(target["name"] for target in targets) == sorted(services)


@pytest.mark.parametrize("kind", ["hpa", "keda"])
def test_the_autoscaler_scales_the_rollout(helm: Helm, kind: str) -> None:
    values = rollouts() | {"autoscaling": {"kind": kind, "cpuPercent": 50}}
    objects = helm.render(values)
    (scaler,) = objects.all("HorizontalPodAutoscaler") + objects.all("ScaledObject")
    owner = objects.one("Rollout")
    target = {key: owner[key] for key in ("apiVersion", "kind")} | {"name": NAME}
    assert scaler["spec"]["scaleTargetRef"] == target
    assert "replicas" not in owner["spec"]


def test_steps_are_weights_with_a_pause_after_each(helm: Helm) -> None:
    steps = canary(helm.render(rollouts(weights=[10, 50], pauseSeconds=600)))["steps"]
    assert steps == [
        {"setWeight": 10},
        {"pause": {"duration": "600s"}},
        {"setWeight": 50},
        {"pause": {"duration": "600s"}},
    ]


def test_a_gateway_divides_between_two_services(helm: Helm) -> None:
    objects = helm.render(rollouts())
    strategy = canary(objects)
    services = {one["metadata"]["name"]: one["spec"] for one in objects.all("Service")}
    stable, new = (services[strategy[name]] for name in ("stableService", "canaryService"))
    # The controller adds the hashes.
    assert stable["selector"] == new["selector"] == objects.owner["spec"]["selector"]["matchLabels"]
    assert stable["ports"] == new["ports"]
    route = objects.one("HTTPRoute")
    plugin = strategy["trafficRouting"]["plugins"]["argoproj-labs/gatewayAPI"]
    assert plugin == {"httpRoute": route["metadata"]["name"], "namespace": "prod"}
    for rule in route["spec"]["rules"]:
        assert {one["name"]: one["weight"] for one in rule["backendRefs"]} == {
            strategy["stableService"]: 100,
            strategy["canaryService"]: 0,
        }


def test_a_stopping_pod_watches_its_endpoint_in_both_services(helm: Helm) -> None:
    watched = "APP_KUBERNETES__SERVICES"
    said = helm.render(rollouts()).environment[watched]
    assert [one.partition(":")[0] for one in said.split(",")] == [NAME, f"{NAME}-new"]
    assert "," not in helm.render(rollouts("pods")).environment[watched]


def test_only_their_number_divides_without_a_router(helm: Helm) -> None:
    objects = helm.render({"argoRollouts": {"enabled": True}})
    strategy = canary(objects)
    assert {"trafficRouting", "stableService", "scaleDownDelaySeconds"}.isdisjoint(strategy)
    assert len(objects.all("Service")) == 1
    assert (strategy["maxSurge"], strategy["maxUnavailable"]) == ("25%", 0)


#% if cookiecutter.mesh == "istio"
def test_istio_divides_between_two_subsets(helm: Helm) -> None:
    values = rollouts("istio") | {"mesh": {"route": {"enabled": True}}}
    objects = helm.render(values)
    routing = canary(objects)["trafficRouting"]["istio"]
    http = objects.one("VirtualService")["spec"]["http"]
    assert routing["virtualService"]["routes"] == [one["name"] for one in http]
    rule = objects.one("DestinationRule")
    assert routing["destinationRule"]["name"] == rule["metadata"]["name"]
    subsets = [routing["destinationRule"][f"{one}SubsetName"] for one in ("stable", "canary")]
    assert [one["name"] for one in rule["spec"]["subsets"]] == subsets
    for route in http:
        assert [one["destination"]["subset"] for one in route["route"]] == subsets
        assert [one["weight"] for one in route["route"]] == [100, 0]
    with pytest.raises(HelmError, match=r"needs mesh\.enabled and mesh\.route\.enabled"):
        helm.render(rollouts("istio"))


#% endif
@pytest.mark.parametrize(
    ("values", "seconds"),
    [({}, 30), ({"behind": "aws-nlb"}, 120), ({"shutdown": {"floorSeconds": 45.5}}, 46)],
)
def test_old_pods_stay_until_routers_know(helm: Helm, values: Any, seconds: int) -> None:
    objects = helm.render(rollouts() | values)
    delays = {canary(objects)[f"{one}Seconds"] for one in ("scaleDownDelay", "abortScaleDownDelay")}
    assert delays == {seconds}
    for name in ("FLOOR", "FALLBACK"):
        assert float(objects.environment[f"APP_SHUTDOWN__{name}_SECONDS"]) <= seconds


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("would both divide", rollouts() | {"canary": {"release": "web-next", "weight": 0}}),
        ("traffic=gateway needs httpRoute.enabled", rollouts() | {"httpRoute": {}}),
        ("weights: 25 does not follow 50", rollouts(weights=[5, 50, 25])),
        ("weights: 5 does not follow 5", rollouts(weights=[5, 5])),
        (
            "scaleDownDelaySeconds=60 is below the 120 s that aws-nlb may take",
            rollouts(scaleDownDelaySeconds=60) | {"behind": "aws-nlb"},
        ),
        ("pauseSeconds=149 is shorter than analysis.windowSeconds", rollouts(pauseSeconds=149)),
        ("more than 46 characters", rollouts() | {"fullnameOverride": "a" * 47}),
#% if cookiecutter.monitoring == "prometheus"
        (
            "windowSeconds=120 is shorter than two scrapes",
            rollouts() | {"monitoring": {"interval": "2m"}},
        ),
#% endif
    ],
)
def test_what_cannot_work_is_refused(helm: Helm, sentence: str, values: Any) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(values)
    assert sentence in str(refused.value)


def test_the_notes_name_the_commands_of_a_rollout(helm: Helm) -> None:
    notes = helm.notes(rollouts())
    assert f"kubectl argo rollouts -n prod abort {NAME}" in notes
    assert "deployment/" not in notes
    assert "deployment/" in helm.notes()


def test_without_prometheus_there_is_no_analysis(helm: Helm) -> None:
    objects = helm.render(rollouts(analysis={}))
    assert "analysis" not in canary(objects) and not objects.all("AnalysisTemplate")


def test_the_analysis_gets_the_hashes_that_it_asks_for(helm: Helm) -> None:
    objects = helm.render(rollouts())
    template = objects.one("AnalysisTemplate")
    analysis = canary(objects)["analysis"]
    assert analysis["templates"] == [{"templateName": template["metadata"]["name"]}]
    given = {one["name"]: one["valueFrom"]["podTemplateHashValue"] for one in analysis["args"]}
    assert given == {"stable-hash": "Stable", "new-hash": "Latest"}
    assert [one["name"] for one in template["spec"]["args"]] == list(given)
    for metric in template["spec"]["metrics"]:
        query = metric["provider"]["prometheus"]["query"]
        assert set(re.findall(r"\{\{args\.([a-z-]+)\}\}", query)) == set(given)
        assert "@" not in query


def test_each_command_of_the_page_renders(helm: Helm, tmp_path: Path) -> None:
    text = (PROJECT / "docs/rollouts.md").read_text("utf-8")
    (example,) = re.findall(r"^```yaml\n# rollouts.yaml\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "rollouts.yaml").write_text(example, "utf-8")
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S))
    typed: list[str] = []
    commands = re.findall(r"^helm upgrade (?:--install )?web chart(.*)", blocks, re.M)
    assert len(commands) == 5
    for rest in commands:
        arguments = [
            str(tmp_path / one) if one == "rollouts.yaml" else one for one in shlex.split(rest)
        ]
        reused = typed if "--reuse-values" in arguments else []
        typed = [*reused, *(one for one in arguments if one != "--reuse-values")]
        owner = helm.render({}, *typed).owner
        assert (owner["kind"] == "Deployment") is ("enabled=false" in rest)
    assert owner["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


# --- What the queries say, by Prometheus' own promtool.


def series(version: str, route: str, per_scrape: int, took: float, error: str = "") -> list[Any]:
    """A pod's counters of a route, scraped every 10 s; all requests took as long."""
    labels = f'namespace="prod",pod="{NAME}-{version}-x1",http_route="{route}"'
    labels += f',error_type="{error}"' if error else ""
    name, grows = "http_server_request_duration_seconds", f"0+{per_scrape}x60"
    buckets = [
        {
            "series": f'{name}_bucket{{{labels},le="{le}"}}',
            "values": grows if took <= float(le) else "0+0x60",
        }
        for le in ("0.1", "0.5", "1.0", "5.0", "+Inf")
    ]
    return [{"series": f"{name}_count{{{labels}}}", "values": grows}, *buckets]


def stable(per_scrape: int = 100, took: float = 0.05) -> list[Any]:
    return series("old7", "/hello", per_scrape, took)


def judged(tmp_path: Path, metric: str, given: list[Any], says: str) -> None:
    """Ask promtool for the metric's query after 5 minutes; ``says`` is its value, or nothing."""
    objects = found()[0].render(rollouts())
    (query,) = [
        one["provider"]["prometheus"]["query"]
        for one in objects.one("AnalysisTemplate")["spec"]["metrics"]
        if one["name"] == metric
    ]
    query = query.replace("{{args.stable-hash}}", "old7").replace("{{args.new-hash}}", "new7")
    samples = [{"labels": "{}", "value": float(says)}] if says else []
    asked = {"expr": f"round({query}, 0.001)", "eval_time": "5m", "exp_samples": samples}
    test = {"interval": "10s", "input_series": given, "promql_expr_test": [asked]}
    path = tmp_path / "test.yaml"
    path.write_text(yaml.safe_dump({"evaluation_interval": "10s", "tests": [test]}), "utf-8")
    assert PROMTOOL
    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    ("metric", "given", "says"),
    [
        # A tenth fails, nothing did before; the service names what it cut off in words.
        ("errors", [series("new7", "/a", 9, 0.05), series("new7", "/b", 1, 1, "500")], "0.1"),
        ("errors", [series("new7", "/a", 9, 0.05), series("new7", "/b", 1, 1, "shed")], "0.1"),
        ("errors", [series("new7", "/hello", 10, 0.05)], "0"),
        # As many failed before.
        (
            "errors",
            [
                series("new7", "/hello", 9, 0.05),
                series("new7", "/hello", 1, 1, "500"),
                series("old7", "/bad", 11, 1, "500"),
            ],
            "0.001",
        ),
        ("errors", [series("new7", "/hello", 5, 0.05)], ""),  # 60 requests in two minutes
        ("errors", [], ""),  # nothing scraped
        ("p99", [series("new7", "/hello", 10, 0.05)], "-0.099"),
        ("p99", [series("new7", "/hello", 10, 4.0)], "4.762"),
        ("p99", [series("new7", "/hello", 5, 4.0)], ""),
        ("p99", [], ""),
        # A slow route that few call does not hide behind a fast one, nor decide.
        ("p99", [series("new7", "/hello", 20, 0.05), series("new7", "/slow", 1, 4.0)], "-0.099"),
        # A route that is new has nothing to be compared with.
        ("p99", [series("new7", "/next", 10, 4.0)], "0"),
    ],
)
def test_the_queries_judge_as_the_page_says(
    tmp_path: Path, metric: str, given: list[Any], says: str
) -> None:
    judged(tmp_path, metric, [*stable(), *(one for some in given for one in some)], says)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_in_the_last_step_errors_still_count(tmp_path: Path) -> None:
    bad = [*series("new7", "/hello", 9, 4.0), *series("new7", "/hello", 1, 1, "500")]
    for old in ([], stable(0)):
        judged(tmp_path, "errors", [*bad, *old], "0.1")
        judged(tmp_path, "p99", [*bad, *old], "0")


def test_no_result_is_neither_success_nor_failure(helm: Helm) -> None:
    """As utils/evaluate of Argo Rollouts decides: neither condition holds, and none raises."""
    for metric in helm.render(rollouts()).one("AnalysisTemplate")["spec"]["metrics"]:
        limit = {"errors": "0.01", "p99": "0.5"}[metric["name"]]
        assert metric["successCondition"] == f"len(result) > 0 && result[0] <= {limit}"
        assert metric["failureCondition"] == f"len(result) > 0 && result[0] > {limit}"
        assert metric["failureLimit"] == 0 and metric["inconclusiveLimit"] == 10
        assert (metric["initialDelay"], metric["interval"]) == ("120s", "30s")


def test_values_of_the_page_are_the_defaults() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))["argoRollouts"]
    assert values["weights"] == [5, 25, 50, 100] and values["enabled"] is False
