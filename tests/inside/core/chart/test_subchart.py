"""The chart as a part of another one, which hands values down to it."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.generate import CHART
from tests.chart.helm import Helm, HelmError, Manifest, Objects

NAME = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["name"]
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["version"]


def parent(folder: Path, *dependencies: dict[str, Any], **values: Any) -> Path:
    """A chart that consists of this one, as often as there are dependencies."""
    chart = folder / "parent"
    shutil.copytree(CHART, chart / "charts" / NAME)
    described = {
        "apiVersion": "v2",
        "name": "shop",
        "version": "1.0.0",
        "dependencies": [{"name": NAME, "version": VERSION, **more} for more in dependencies],
    }
    (chart / "Chart.yaml").write_text(yaml.safe_dump(described), "utf-8")
    (chart / "values.yaml").write_text(yaml.safe_dump(values), "utf-8")
    return chart


def of(objects: Objects, name: str) -> dict[tuple[str, str], Manifest]:
    """Objects of one part, by kind and name."""
    label = "app.kubernetes.io/part-of"
    mine = [o for o in objects if o["metadata"]["labels"][label] == name]
    return {(o["kind"], o["metadata"]["name"]): o for o in mine}


def test_a_condition_switches_it_on_and_off(helm: Helm, tmp_path: Path) -> None:
    chart = parent(tmp_path, {"condition": f"{NAME}.enabled"}, **{NAME: {"enabled": False}})
    assert helm.render(chart=chart) == []
    assert helm.render({NAME: {"enabled": True}}, chart=chart) == helm.render()


def test_globals_and_tags_of_the_parent_change_nothing(helm: Helm, tmp_path: Path) -> None:
    values: Any = {"global": {"team": "shop", "none": None}, "tags": {"web": True}}
    chart = parent(tmp_path, {"tags": ["web"]}, **values)
    assert helm.render(chart=chart) == helm.render()
    assert helm.render({"tags": {"web": False}}, chart=chart) == []


def test_two_aliases_are_two_services(helm: Helm, tmp_path: Path) -> None:
    aliases = [{"alias": name, "condition": f"{name}.enabled"} for name in ("orders", "stock")]
    chart = parent(tmp_path, *aliases, orders={"enabled": True}, stock={"replicas": 3})
    objects = helm.render({"orders": {"listen": {"port": 9000}}}, chart=chart)
    orders, stock = of(objects, "orders"), of(objects, "stock")
    assert len(orders) + len(stock) == len(objects)
    assert [len(orders), len(stock)] == [len(helm.render())] * 2
    assert not orders.keys() & stock.keys(), "names are apart"
    deployments = {
        name: o["spec"] for (kind, name), o in {**orders, **stock}.items() if kind == "Deployment"
    }
    assert deployments["web-orders"]["replicas"] == 2
    assert deployments["web-stock"]["replicas"] == 3
    selectors = [spec["selector"]["matchLabels"] for spec in deployments.values()]
    assert selectors[0] != selectors[1]


def test_nulls_in_the_parents_values_are_defaults(helm: Helm, tmp_path: Path) -> None:
    nulls = {"resources": None, "image": {"tag": None}, "ingress": {"annotations": None}}
    chart = parent(tmp_path, {}, **{NAME: nulls})
    assert helm.render(chart=chart) == helm.render()
    assert helm.render({NAME: {"nodeSelector": None}}, chart=chart) == helm.render()


@pytest.mark.parametrize("name", ["enable", "replicaCount"])
def test_a_name_it_does_not_know_is_refused_there_too(
    helm: Helm, tmp_path: Path, name: str
) -> None:
    chart = parent(tmp_path, {"condition": f"{NAME}.enabled"})
    with pytest.raises(HelmError, match=name):
        helm.render({NAME: {name: 1}}, chart=chart)
