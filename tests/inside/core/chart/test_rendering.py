"""Every value can be set, and whatever is rendered is what Kubernetes takes."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml

from dev.generate import CHART, OF_A_PARENT, files, rows, schema
from tests.chart.cases import CASES
from tests.chart.helm import Helm, found

VERSIONS = [f"1.{minor}" for minor in range(30, 38)]
SCHEMAS = Path(__file__).parent / "schemas"
CUSTOM = {
    "AnalysisTemplate",
    "BackendTLSPolicy",
    "DestinationRule",
    "HTTPRoute",
    "PodMonitor",
    "PrometheusRule",
    "Rollout",
    "ScaledObject",
    "ServiceMonitor",
    "VirtualService",
}


def leaves(values: Any, prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")


def test_every_value_is_set_in_some_case() -> None:
    tried = {path for case in CASES.values() for path in leaves(case)}
    assert {path for path, *_ in rows(schema(), {})} <= tried


def test_values_and_schema_name_the_same() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    described = {path for path, *_ in rows(schema(), {})}
    assert described - set(leaves(values)) == set(OF_A_PARENT)


def test_every_value_is_described() -> None:
    assert [path for path, _, description in rows(schema(), {}) if not description] == []


def test_every_object_of_the_schema_is_closed() -> None:
    def open_objects(part: Any, path: str) -> Iterator[str]:
        if isinstance(part, dict):
            if "properties" in part and part.get("additionalProperties") is not False:
                yield path
            for name, inner in part.items():
                yield from open_objects(inner, f"{path}/{name}")

    assert list(open_objects(schema(), "")) == []


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_what_is_generated_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == files()[path], "run `make generate`"


@pytest.mark.parametrize("case", CASES)
def test_lint_is_content(helm: Helm, case: str) -> None:
    assert "0 chart(s) failed" in helm.lint(CASES[case])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(version: str, case: str) -> None:
    for document in found()[0].render(CASES[case], "--kube-version", version):
        if document["kind"] not in CUSTOM:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_custom_resources_are_as_their_definitions_say(helm: Helm, case: str) -> None:
    for document in helm.render(CASES[case]):
        if document["kind"] in CUSTOM:
            rules = json.loads((SCHEMAS / f"{document['kind'].lower()}.json").read_text("utf-8"))
            jsonschema.validate(document, rules)


@pytest.mark.parametrize("case", CASES)
def test_all_helms_render_the_same(case: str) -> None:
    rendered = [sorted(map(json.dumps, helm.render(CASES[case]))) for helm in found()]
    assert all(one == rendered[0] for one in rendered)


@pytest.mark.skipif("KUBECONFIG" not in os.environ, reason="no cluster: KUBECONFIG is not set")
@pytest.mark.parametrize("case", [case for case in CASES if case not in ("all-typed", "keda")])
def test_a_cluster_takes_it(helm: Helm, case: str) -> None:
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is needed to ask the cluster"
    rendered = helm.text(CASES[case], "--namespace", "default")
    subprocess.run(
        [kubectl, "apply", "--dry-run=server", "--namespace", "default", "-f", "-"],
        input=rendered,
        text=True,
        check=True,
    )
