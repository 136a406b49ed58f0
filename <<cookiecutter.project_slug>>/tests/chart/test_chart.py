"""Every values file renders what Kubernetes accepts, and the chart fits the service."""

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.environment import load, variables
from app.lifecycle.times import Times
from app.lifecycle.watchdog import MARGIN
from dev.generate import CHART, GROUPS, OF_A_PARENT, files, rows, rules_of, schema
from tests.chart.helm import PROJECT, Helm, HelmError, found

VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
#: API versions of custom resources, which Kubernetes does not know by itself.
CUSTOM = re.compile(r"gateway\.|(?!\S*k8s\.io)[\w-]+\.[\w.]+/")
CASES: dict[str, Any] = {"defaults": {}} | {
    path.stem.removeprefix("values-"): yaml.safe_load(path.read_text("utf-8"))
    for path in CHART.glob("values-*.yaml")
}


def leaves(values: Any, prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")


def test_values_and_schema_agree() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    described = {path: description for path, _, description in rows(schema(), {})}
    assert set(described) - set(leaves(values)) == set(OF_A_PARENT)
    assert [path for path, description in described.items() if not description] == []


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Any) -> None:
    assert path.read_text("utf-8") == files()[path], "run `make generate`"


@pytest.mark.parametrize("case", CASES)
def test_helm_accepts_it(helm: Helm, case: str) -> None:
    assert "0 chart(s) failed" in helm.lint(CASES[case])
    assert "terminationGracePeriodSeconds" in helm.notes(CASES[case])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_it(version: str, case: str) -> None:
    for document in found()[0].render(CASES[case], "--kube-version", version):
        if not CUSTOM.match(document["apiVersion"]):
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_every_helm_renders_the_same(case: str) -> None:
    rendered = [sorted(map(json.dumps, helm.render(CASES[case]))) for helm in found()]
    assert all(one == rendered[0] for one in rendered)


@pytest.mark.parametrize("case", CASES)
def test_the_service_accepts_its_settings(
    helm: Helm, case: str, bare_environment: pytest.MonkeyPatch
) -> None:
    for name, value in helm.render(CASES[case]).environment.items():
        bare_environment.setenv(name, value)
    load()


def test_every_setting_can_be_set_in_the_values() -> None:
    config = set(schema()["properties"]["config"]["properties"])
    for group in GROUPS:
        config |= {f"APP_{group}__{name}".upper() for name, _ in rules_of(group)}
#% if cookiecutter.database == "postgresql"
    shop = {"secret": "shop", "passwordSecret": "shop", "poolSize": 5, "pooler": "none"}
    values = {"database": {**shop, "gating": True}, "migrations": {"secretKey": "owner"}}
    objects = found()[0].render(values)
    migrates = objects.one("Job")["spec"]["template"]["spec"]["containers"][0]
    named = {one["name"] for one in [*objects.container["env"], *migrates["env"]]}
    own = {name for name in named if name.startswith("APP_")}
#% else
    own = {name for name in found()[0].render().environment if name.startswith("APP_")}
#% endif
#% if cookiecutter.service_registry != "none"
    registered = found()[0].render({"registry": {"secret": "shop"}})
    named = {one["name"] for one in registered.container["env"]}
    own |= {name for name in named if name.startswith("APP_")}
#% endif
#% if cookiecutter.tls == "yes"
    secured = found()[0].render(
        {
            "tls": {"secretName": "shop"},
            "service": {"port": 443},
#% if cookiecutter.mesh != "none"
            "mesh": {"enabled": False},
#% endif
        }
    )
    named = {one["name"] for one in secured.container["env"]}
    own |= {name for name in named if name.startswith("APP_")}
#% endif
    assert config | own == {name for name, _ in variables()}
    assert not config & own, "such a setting would have two places"


@pytest.mark.parametrize("case", CASES)
def test_the_longest_stop_fits_into_the_grace_period(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    times = Times(
        **{
            name.removeprefix("APP_SHUTDOWN__").removesuffix("_SECONDS").lower(): float(value)
            for name, value in objects.environment.items()
            if name.startswith("APP_SHUTDOWN__")
        }
    )
    assert times.grace == objects.pod["terminationGracePeriodSeconds"]
    assert times.longest() + MARGIN < times.grace


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        (
            "limitSeconds=4 is below the fallback of 5 s",
            {"shutdown": {"limitSeconds": 4, "fallbackSeconds": 5}},
        ),
        ("marginSeconds=1.9 is below 2", {"shutdown": {"marginSeconds": 1.9}}),
        ("keepAliveSeconds=75 is not above", {"behind": "envoy", "keepAliveSeconds": 75}),
        ("watchEndpoint", {"shutdown": {"watchEndpoint": False}}),
        ("APP_LOG__LEVLE", {"config": {"APP_LOG__LEVLE": "debug"}}),
    ],
)
def test_wrong_values_are_refused_with_a_sentence(helm: Helm, sentence: str, values: Any) -> None:
    with pytest.raises(HelmError, match=sentence):
        helm.render(values)


def test_chart_and_service_have_the_same_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    assert chart["appVersion"] == chart["version"] == project["version"]
    assert chart["name"] == project["name"]
