"""A value that is missing or null is its default, as after an upgrade from an older chart."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.generate import CHART, LEFT_OUT_BY_NULL, schema, values
from tests.chart.cases import CASES
from tests.chart.helm import Helm

NAMES = [name for name in schema()["properties"] if name in values()]
#: Groups of which null leaves out a part.
PARTLY = {path.partition(".")[0] for path in LEFT_OUT_BY_NULL}


def children(name: str) -> dict[str, None]:
    """Nulls for the values of a group and of the groups in it."""
    inner = schema()["properties"][name].get("properties", {}) if name != "config" else {}
    return {child: None for child in inner if f"{name}.{child}" not in LEFT_OUT_BY_NULL}


def chart_with(folder: Path, values: Any) -> Path:
    """The chart with other values of its own: what --reuse-values makes of it."""
    copy = shutil.copytree(CHART, folder / "chart")
    (copy / "values.yaml").write_text(yaml.safe_dump(values), "utf-8")
    return copy


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("runAsUser", "spread")])
def test_an_empty_key_in_a_values_file_is_its_default(helm: Helm, name: str) -> None:
    assert helm.render({name: None}) == helm.render()


@pytest.mark.parametrize("name", [name for name in NAMES if children(name)])
def test_empty_keys_in_a_group_are_their_defaults(helm: Helm, name: str) -> None:
    assert helm.render({name: children(name)}) == helm.render()


def test_values_of_a_chart_that_did_not_know_most_keys_are_taken(
    helm: Helm, tmp_path: Path
) -> None:
    known = {"replicas": 2, "shutdown": {"marginSeconds": 2}, "image": {"tag": ""}, "probes": {}}
    older = chart_with(tmp_path, known | {name: values()[name] for name in PARTLY})
    assert helm.render(chart=older) == helm.render()


def test_a_null_that_helm_leaves_in_the_values_is_a_default_too(helm: Helm, tmp_path: Path) -> None:
    everything: Any = dict.fromkeys(schema()["properties"])
    left_out: Any = {"runAsUser": None, "spread": {"zones": None, "nodes": None}}
    older = chart_with(tmp_path, everything)
    assert helm.render(chart=older) == helm.render(left_out)


@pytest.mark.parametrize("case", CASES)
def test_what_is_typed_stays_when_all_else_is_missing(
    helm: Helm, tmp_path: Path, case: str
) -> None:
    # Helm adds what is typed in a map to what is in it: these have maps with content.
    known = {"migrations", "monitoring", "resources", *PARTLY} & values().keys()
    older = chart_with(tmp_path, {name: values()[name] for name in known})
    assert helm.render(CASES[case], chart=older) == helm.render(CASES[case])


@pytest.mark.parametrize("path", LEFT_OUT_BY_NULL)
def test_null_leaves_out_what_needs_no_value(helm: Helm, path: str) -> None:
    values = {"autoscaling": {"kind": "hpa", "memoryPercent": 70}}
    values |= {"resources": {"requests": {"cpu": 1, "memory": "1Gi"}}}
    with_default, left_out = helm.text(values), helm.text(values, "--set", f"{path}=null")
    assert len(left_out) < len(with_default)


def test_a_key_in_a_map_of_the_owners_is_taken_back_by_null(helm: Helm) -> None:
    values = {
        "config": {"APP_LOG__LEVEL": None, "APP_HOST": None},
        "labels": {"team": None},
        "podAnnotations": {"a": None},
        "nodeSelector": {"disk": None},
    }
    assert helm.render(values) == helm.render()


def test_every_template_begins_with_the_defaults() -> None:
    name = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["name"]
    for path in (CHART / "templates").rglob("*"):
        if path.is_file() and path.suffix != ".tpl":
            first = path.read_text("utf-8").splitlines()[0]
            assert first == f'{{{{- include "{name}.values" . -}}}}', path
