"""Routes of the mesh itself, VirtualService and DestinationRule: Istio only."""

from pathlib import Path
from typing import Any

import pytest

from dev.generate import values
from tests.chart.cases import CASES
from tests.chart.helm import Helm, HelmError, Objects, found
from tests.envoy import Backend, assert_share, envoy, needs_envoy, send, shares

pytestmark = pytest.mark.skipif(
    "route" not in values()["mesh"], reason="this mesh has HTTPRoutes only"
)
REQUESTS = 2000
ON: Any = {"enabled": True}


def with_route(canary: Any = None, **route: Any) -> Any:
    return {"mesh": {"route": ON | route}} | ({"canary": canary} if canary else {})


def http(objects: Objects, name: str) -> Any:
    """The route for methods that are safe or unsafe."""
    routes = objects.one("VirtualService")["spec"]["http"]
    return next(route for route in routes if route["name"] == name)


def as_envoy_does(route: Any) -> list[Any]:
    """What istiod makes of a route of a VirtualService, for a caller's proxy."""
    clusters = [
        {"name": one["destination"]["subset"], "weight": one.get("weight", 100)}
        for one in route["route"]
    ]
    action: Any = {"weighted_clusters": {"clusters": clusters}}
    action["timeout"] = route.get("timeout", "0s")
    retries = route["retries"]
    if retries["attempts"]:
        action["retry_policy"] = {
            "retry_on": retries["retryOn"],
            "num_retries": retries["attempts"],
            "retry_back_off": {"base_interval": "0.001s"},
        }
    made: Any = {"match": {"prefix": "/"}, "route": action}
    if delay := route.get("fault", {}).get("delay"):
        made["typed_per_filter_config"] = {
            "fault": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
                "delay": {
                    "fixed_delay": delay["fixedDelay"],
                    "percentage": {
                        "numerator": int(delay["percentage"]["value"] * 10_000),
                        "denominator": "MILLION",
                    },
                },
            }
        }
    return [made]


def test_without_a_route_there_is_none(helm: Helm) -> None:
    for case in ({}, {"mesh": {"enabled": False, "route": ON}}):
        objects = helm.render(case)
        assert objects.all("VirtualService") + objects.all("DestinationRule") == []
        assert len(objects.all("Service")) == 1


def test_the_subsets_are_the_pods_of_the_releases(helm: Helm) -> None:
    objects = helm.render(with_route({"release": "web-canary", "weight": 20}))
    rule, service = objects.one("DestinationRule")["spec"], objects.all("Service")
    (every,) = [one for one in service if one["metadata"]["name"] == rule["host"]]
    subsets = {one["name"]: one["labels"] for one in rule["subsets"]}
    for name, release in (("stable", "web"), ("canary", "web-canary")):
        pod = helm.render(release=release).one("Deployment")["spec"]["template"]
        labels = pod["metadata"]["labels"].items()
        assert every["spec"]["selector"].items() <= labels
        assert [other for other, chosen in subsets.items() if chosen.items() <= labels] == [name]


def test_every_destination_is_a_subset_that_exists(helm: Helm) -> None:
    for case in (CASES["faults"], with_route(), with_route({"release": "x", "weight": 0})):
        objects = helm.render(case)
        rule = objects.one("DestinationRule")["spec"]
        known = {(rule["host"], one["name"]) for one in rule["subsets"]}
        for route in objects.one("VirtualService")["spec"]["http"]:
            for one in (share["destination"] for share in route["route"]):
                assert (one["host"], one["subset"]) in known


def test_callers_keep_the_name_they_use(helm: Helm) -> None:
    inside = helm.render(with_route())
    assert inside.one("VirtualService")["spec"]["hosts"] == ["web-example-service"]
    both = helm.render(with_route(hosts=["a.example.com"], gateways=["edge/public"]))
    spec = both.one("VirtualService")["spec"]
    assert spec["hosts"] == ["web-example-service", "a.example.com"]
    assert spec["gateways"] == ["mesh", "edge/public"], "the callers' sidecars too"


def test_the_canary_of_the_gateway_is_that_of_the_mesh(helm: Helm) -> None:
    both = with_route({"release": "web-canary", "weight": 20})
    both["httpRoute"] = {"enabled": True, "parentRefs": [{"name": "gateway"}]}
    objects = helm.render(both)
    (rule,) = objects.one("HTTPRoute")["spec"]["rules"]
    weights = [one["weight"] for one in http(objects, "safe")["route"]]
    assert weights == [one["weight"] for one in rule["backendRefs"]] == [80, 20]


def test_the_timeout_is_the_one_that_the_service_knows(helm: Helm) -> None:
    assert "timeout" not in http(helm.render(with_route()), "safe")
    objects = helm.render(with_route() | {"requests": {"proxyTimeoutSeconds": 10}})
    assert {http(objects, kind)["timeout"] for kind in ("safe", "unsafe")} == {"10s"}
    assert objects.environment["APP_REQUESTS__TIMEOUT_SECONDS"] == "9"


def test_outliers_are_as_typed(helm: Helm) -> None:
    typed = {"connectionFailures": 7, "serverErrors": 9, "intervalSeconds": 2}
    objects = helm.render(with_route(outliers=typed | {"ejectionSeconds": 40, "maxPercent": 10}))
    assert objects.one("DestinationRule")["spec"]["trafficPolicy"]["outlierDetection"] == {
        "splitExternalLocalOriginErrors": True,
        "consecutiveLocalOriginFailures": 7,
        "consecutive5xxErrors": 9,
        "interval": "2s",
        "baseEjectionTime": "40s",
        "maxEjectionPercent": 10,
    }


@needs_envoy
def test_requests_are_divided_80_to_20(tmp_path: Path) -> None:
    objects = found()[0].render(with_route({"release": "b", "weight": 20}))
    backends = {name: Backend(name) for name in ("stable", "canary")}
    with envoy(tmp_path, as_envoy_does(http(objects, "safe")), backends) as port:
        assert_share(lambda: shares(send(port, REQUESTS))["canary"], 20, of=REQUESTS)


@needs_envoy
def test_one_in_ten_waits_for_three_seconds(tmp_path: Path) -> None:
    fault = {"delayPercent": 10, "delaySeconds": 3}
    objects = found()[0].render(with_route(fault=fault, retries={"attempts": 0}))

    def delayed() -> int:
        answers = send(port, REQUESTS)
        assert all(answer.status == 200 for answer in answers)
        # Envoy's clock ticks a little before ours.
        return sum(answer.took > 2.9 for answer in answers)

    route = as_envoy_does(http(objects, "unsafe"))
    with envoy(tmp_path, route, {"stable": Backend("stable")}) as port:
        assert_share(delayed, 10, of=REQUESTS)


@needs_envoy
@pytest.mark.parametrize(
    ("kind", "method", "arrivals"),
    [("safe", "GET", 3), ("unsafe", "POST", 1), ("unsafe", "DELETE", 1)],
)
def test_only_safe_methods_are_repeated_when_a_connection_breaks(
    tmp_path: Path, kind: str, method: str, arrivals: int
) -> None:
    broken = Backend("stable", status=None)
    route = as_envoy_does(http(found()[0].render(with_route()), kind))
    with envoy(tmp_path, route, {"stable": broken}) as port:
        (answer,) = send(port, 1, method)
    assert answer.status == 503
    assert broken.arrived == [method] * arrivals


@needs_envoy
def test_a_response_is_never_repeated_as_503_is_how_load_is_shed(tmp_path: Path) -> None:
    shedding = Backend("stable", status=503)
    route = as_envoy_does(http(found()[0].render(with_route()), "safe"))
    with envoy(tmp_path, route, {"stable": shedding}) as port:
        send(port, 1)
    assert shedding.arrived == ["GET"]


def test_the_safe_route_takes_safe_methods_and_comes_first(helm: Helm) -> None:
    first, second = helm.render(with_route()).one("VirtualService")["spec"]["http"]
    assert first["match"] == [{"method": {"regex": "GET|HEAD|OPTIONS"}}]
    assert "match" not in second
    assert "reset" not in second["retries"]["retryOn"]


def test_a_fault_is_named_in_the_notes(helm: Helm) -> None:
    assert "FAULTS ARE ON: 10 % of requests wait 3 s" in helm.notes(CASES["faults"])
    assert "FAULTS" not in helm.notes(with_route())


@pytest.mark.parametrize(
    ("sentence", "wrong"),
    [
        (
            "mesh.route.fault turns off the retries and the timeout of its route",
            with_route(fault={"delayPercent": 10}),
        ),
        (
            "requests.proxyTimeoutSeconds=0 (it is 10) while the fault is on",
            with_route(fault={"abortPercent": 1}, retries={"attempts": 0})
            | {"requests": {"proxyTimeoutSeconds": 10}},
        ),
        (
            "mesh.route.retries.perTrySeconds=10 is not below the 10 s",
            with_route(retries={"perTrySeconds": 10}) | {"requests": {"proxyTimeoutSeconds": 10}},
        ),
        ("mesh.route.gateways need mesh.route.hosts", with_route(gateways=["public"])),
        (
            "are two routes for the same requests",
            with_route()
            | {
                "httpRoute": {
                    "enabled": True,
                    "parentRefs": [{"group": "", "kind": "Service", "name": "web"}],
                }
            },
        ),
        (
            "canary.release=b needs httpRoute.enabled or mesh.route.enabled",
            {"canary": {"release": "b"}},
        ),
    ],
)
def test_routes_that_cannot_work_are_refused(helm: Helm, sentence: str, wrong: Any) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(wrong)
    assert sentence in str(refused.value)
