"""Who owns the number of pods, and that no upgrade takes them away."""

from pathlib import Path
from typing import Any

import pytest

from tests.chart.helm import Helm, Manifest
from tests.chart.lookups import cluster

SCALED: Any = {"hpa": "HorizontalPodAutoscaler", "keda": "ScaledObject"}


def live(helm: Helm, values: Any, **spec: Any) -> Manifest:
    """The Deployment that these values have made, as others have scaled it since."""
    deployment = helm.render(values).one("Deployment")
    return {**deployment, "spec": {"replicas": 1, **deployment["spec"], **spec}}


def upgraded(helm: Helm, folder: Path, before: Manifest, values: Any) -> Manifest:
    with cluster(folder, before) as there:
        return helm.render(values, *there).one("Deployment")


@pytest.mark.parametrize("kind", SCALED)
@pytest.mark.parametrize(("number", "wanted"), [(6, 6), (1, 3), (0, 3), (15, 15)])
def test_an_autoscaler_that_takes_over_finds_the_pods_that_are_there(
    helm: Helm, tmp_path: Path, kind: str, number: int, wanted: int
) -> None:
    after = {"autoscaling": {"kind": kind, "minReplicas": 3}, "replicas": number}
    before = live(helm, {"replicas": number})
    assert upgraded(helm, tmp_path, before, after)["spec"]["replicas"] == wanted


@pytest.mark.parametrize("kind", SCALED)
def test_each_upgrade_after_that_leaves_what_the_autoscaler_chose(
    helm: Helm, tmp_path: Path, kind: str
) -> None:
    values = {"autoscaling": {"kind": kind}, "replicas": 6}
    first = upgraded(helm, tmp_path, live(helm, {"replicas": 6}), values)
    first["spec"]["replicas"] = 9
    assert upgraded(helm, tmp_path, first, values)["spec"]["replicas"] == 9


@pytest.mark.parametrize("kind", SCALED)
def test_a_number_that_was_never_rendered_stays_the_autoscalers(
    helm: Helm, tmp_path: Path, kind: str
) -> None:
    values = {"autoscaling": {"kind": kind}, "annotations": {"team": "shop"}}
    before = live(helm, values, replicas=8)
    assert "replicas" not in upgraded(helm, tmp_path, before, values)["spec"]


@pytest.mark.parametrize("kind", SCALED)
def test_a_fixed_number_takes_over_at_once(helm: Helm, tmp_path: Path, kind: str) -> None:
    before = live(helm, {"autoscaling": {"kind": kind}}, replicas=8)
    assert upgraded(helm, tmp_path, before, {"replicas": 7})["spec"]["replicas"] == 7
    # And back: now there is a number that would be taken away.
    again = live(helm, {"replicas": 7})
    scaled = upgraded(helm, tmp_path, again, {"autoscaling": {"kind": kind}})
    assert scaled["spec"]["replicas"] == 7


def test_another_autoscaler_changes_nothing(helm: Helm, tmp_path: Path) -> None:
    before = live(helm, {"replicas": 6})
    hpa = upgraded(helm, tmp_path, before, {"autoscaling": {"kind": "hpa"}})
    keda = upgraded(helm, tmp_path, hpa, {"autoscaling": {"kind": "keda"}})
    assert hpa["spec"]["replicas"] == keda["spec"]["replicas"] == 6


@pytest.mark.parametrize("kind", SCALED)
def test_who_scales_owns_the_number(helm: Helm, kind: str) -> None:
    """Rendered without the cluster, for who applies it again and again: nobody fights."""
    objects = helm.render({"autoscaling": {"kind": kind}, "replicas": 7})
    assert "replicas" not in objects.one("Deployment")["spec"]
    scaler = objects.one(SCALED[kind])["spec"]
    assert scaler["scaleTargetRef"]["name"] == objects.one("Deployment")["metadata"]["name"]


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, True),
        ({"replicas": 1}, False),
        ({"replicas": 1, "autoscaling": {"kind": "hpa", "minReplicas": 2}}, True),
        ({"replicas": 9, "autoscaling": {"kind": "hpa", "minReplicas": 1}}, False),
        ({"podDisruptionBudget": {"enabled": False}}, False),
    ],
)
def test_the_disruption_budget_follows_whoever_owns_the_number(
    helm: Helm, values: Any, there: bool
) -> None:
    budgets = helm.render(values).all("PodDisruptionBudget")
    assert len(budgets) == there
    assert all(b["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow" for b in budgets)


@pytest.mark.parametrize("kind", SCALED)
def test_the_notes_say_who_owns_the_number(helm: Helm, kind: str) -> None:
    notes = helm.notes({"autoscaling": {"kind": kind, "minReplicas": 3}, "replicas": 1})
    assert f"autoscaler ({kind}) sets the number of pods, from 3 to 10" in notes
    assert "One replica" not in notes
    assert "One replica" in helm.notes({"replicas": 1})
    assert "autoscaler" not in helm.notes()
