"""Two releases under one route: the share of the canary, and that nothing else changes with it."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.generate import CHART
from tests.chart.cases import values_file
from tests.chart.helm import PROJECT, Helm, Objects, found
from tests.envoy import Backend, assert_share, envoy, needs_envoy, send, shares

REQUESTS = 2000
ROUTE: Any = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}}
PARENT = {"group": "", "kind": "Service", "name": "web-example-service", "port": 80}


def with_weight(weight: int) -> Any:
    return ROUTE | {"canary": {"release": "web-canary", "weight": weight}}


def backends(objects: Objects) -> dict[str, int]:
    """The weights of an HTTPRoute by Service."""
    (rule,) = objects.one("HTTPRoute")["spec"]["rules"]
    return {one["name"]: one.get("weight", 1) for one in rule["backendRefs"]}


def as_envoy_does(weights: dict[str, int]) -> list[Any]:
    """What a gateway makes of the weights of an HTTPRoute."""
    clusters = [{"name": name, "weight": weight} for name, weight in weights.items()]
    return [{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": clusters}}}]


def test_without_a_canary_the_route_has_one_service(helm: Helm) -> None:
    assert backends(helm.render(ROUTE)) == {"web-example-service": 1}


@pytest.mark.parametrize("weight", [0, 5, 25, 50, 100])
def test_weights_are_percent(helm: Helm, weight: int) -> None:
    assert backends(helm.render(with_weight(weight))) == {
        "web-example-service": 100 - weight,
        "web-canary-example-service": weight,
    }


@pytest.mark.parametrize("release", ["web-canary", "example-service-next", "c" * 53])
def test_the_service_is_that_of_the_other_release(helm: Helm, release: str) -> None:
    canary = helm.render(values_file("canary"), release=release)
    named = backends(helm.render(ROUTE | {"canary": {"release": release, "weight": 1}}))
    service = canary.one("Service")
    assert service["metadata"]["name"] in named
    assert service["spec"]["ports"][0]["port"] == 80
    assert not canary.all("HTTPRoute")


def test_the_two_releases_share_no_pod(helm: Helm) -> None:
    stable, canary = helm.render(), helm.render(values_file("canary"), release="web-canary")
    pods = canary.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not stable.one("Service")["spec"]["selector"].items() <= pods.items()
    assert not stable.one("Deployment")["spec"]["selector"]["matchLabels"].items() <= pods.items()


def test_a_step_changes_the_route_and_nothing_else(helm: Helm) -> None:
    before, after = helm.render(with_weight(5)), helm.render(with_weight(25))
    changed = [old["kind"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["HTTPRoute"]


def test_a_route_of_a_mesh_has_the_same_weights(helm: Helm) -> None:
    values = {"httpRoute": {"enabled": True, "parentRefs": [PARENT]}, "canary": {}}
    values["canary"] = {"release": "web-canary", "weight": 20}
    route = helm.render(values).one("HTTPRoute")
    assert route["spec"]["parentRefs"] == [PARENT]
    assert list(backends(helm.render(values)).values()) == [80, 20]


@needs_envoy
def test_requests_are_divided_by_the_weights(tmp_path: Path) -> None:
    weights = backends(found()[0].render(with_weight(20)))
    behind = {name: Backend(name) for name in weights}
    with envoy(tmp_path, as_envoy_does(weights), behind) as port:
        assert_share(
            lambda: shares(send(port, REQUESTS))["web-canary-example-service"], 20, of=REQUESTS
        )


@needs_envoy
def test_a_bad_canary_costs_its_share_and_after_the_way_back_nothing(tmp_path: Path) -> None:
    def failed(weight: int) -> int:
        weights = backends(found()[0].render(with_weight(weight)))
        behind = {name: Backend(name, status=500 if "canary" in name else 200) for name in weights}
        with envoy(tmp_path, as_envoy_does(weights), behind) as port:
            return sum(answer.status == 500 for answer in send(port, REQUESTS))

    assert_share(lambda: failed(5), 5, of=REQUESTS)
    assert failed(0) == 0


def test_each_command_of_the_documents_renders(helm: Helm, tmp_path: Path) -> None:
    """`--reuse-values` keeps what was set before: the commands of a page follow each other."""
    (tmp_path / "my-values.yaml").write_text(yaml.safe_dump(ROUTE), "utf-8")
    pages = sorted(PROJECT.glob("docs/canary.md")) + sorted(PROJECT.glob("docs/mesh.md"))
    for page in [*pages, CHART / "README.md"]:
        text = page.read_text("utf-8").replace("sha256:…", "sha256:" + "0" * 64)
        blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        typed: dict[str, list[str]] = {}
        commands = re.findall(
            r"^helm (?:upgrade|install) (?:--install )?(\S+) chart(.*)",
            blocks.replace("\\\n", " "),
            re.MULTILINE,
        )
        assert commands, page
        for release, rest in commands:
            arguments = shlex.split(rest.partition(" #")[0])
            arguments = [
                str({"my-values.yaml": tmp_path}.get(one, PROJECT) / one)
                if one.endswith(".yaml")
                else one
                for one in arguments
                if one != "--wait"
            ]
            reused = typed.get(release, []) if "--reuse-values" in arguments else []
            given = [*reused, *(one for one in arguments if one != "--reuse-values")]
            typed[release] = given
            assert helm.text({}, *given, release=release), (page, release, rest)
