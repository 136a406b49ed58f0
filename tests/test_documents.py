"""What the documents of a new project say exists: commands, options, files, settings, values."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bake
from tests.template import COMBINATIONS, Answers, files_in

# The Python of the image is in no document.
VARIANTS = {name: answers for name, answers in COMBINATIONS.items() if answers["python_version"] == "3.13"}


@pytest.fixture(params=VARIANTS)
def answers(request: pytest.FixtureRequest) -> Answers:
    return VARIANTS[request.param]


@pytest.fixture
def project(bake: Bake, answers: Answers) -> Path:
    return bake(**answers)


def read(project: Path, path: str | Path) -> str:
    return (project / path).read_text(encoding="utf-8")


def documents(project: Path) -> dict[Path, str]:
    return {path: read(project, path) for path in files_in(project) if path.suffix == ".md"}


def code(text: str) -> str:
    """What stands in code: blocks and spans."""
    return "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", text, re.MULTILINE | re.DOTALL))


def anchors(text: str) -> set[str]:
    """As GitHub and GitLab make them of headings."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere(project: Path) -> None:
    for path, text in documents(project).items():
        for target, _, anchor in (link.partition("#") for link in re.findall(r"\]\((?!https?:)([^)]*)\)", text)):
            place = (project / path.parent / target).resolve() if target else project / path
            assert place.exists(), f"{path}: {target}"
            if anchor:
                assert anchor in anchors(place.read_text(encoding="utf-8")), f"{path}: {target}#{anchor}"


def test_every_page_is_linked_from_the_readme(project: Path) -> None:
    readme = read(project, "README.md")
    assert [path for path in documents(project) if path.parts[0] == "docs" and f"({path})" not in readme] == []


def test_targets_of_make_exist(project: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(project, "Makefile"), re.MULTILINE))
    for path, text in documents(project).items():
        for line in re.findall(r"\bmake ([a-z][a-z -]*)", code(text)):
            assert set(line.split()) <= targets, f"{path}: make {line}"


def test_commands_of_the_service_exist(project: Path) -> None:
    commands = set(re.findall(r"^  (\w+) ", read(project, "src/app/__main__.py"), re.MULTILINE))
    for path, text in documents(project).items():
        assert set(re.findall(r"python -m app ([a-z]+)", text)) <= commands, path


def test_options_and_scenarios_of_the_drill_exist(project: Path, answers: Answers) -> None:
    if answers["drill"] == "no":
        assert not [path for path, text in documents(project).items() if "drill" in text.lower()]
        return
    options = set(re.findall(r'"(--[a-z-]+)"', read(project, "drill/options.py"))) | {"--help"}
    scenarios = set(re.findall(r"^\| `(\S+)` \|", read(project, "docs/drill.md"), re.MULTILINE)) | {"all"}
    assert {"--scenario", "--backend"} <= options
    for path, text in documents(project).items():
        for arguments in re.findall(r'make drill ARGS="([^"]*)"', text):
            assert set(re.findall(r"--[a-z-]+", arguments)) <= options, f"{path}: {arguments}"
            for named in re.findall(r"--scenario (\S+)", arguments):
                assert set(named.split(",")) <= scenarios, f"{path}: {named}"


def test_settings_exist(project: Path) -> None:
    schema: dict[str, Any] = json.loads(read(project, "chart/values.schema.json"))
    set_by_chart = re.findall(r"name: (APP_\w+)", read(project, "chart/templates/deployment.yaml"))
    known = {*schema["properties"]["config"]["properties"], *set_by_chart}
    assert len(known) > 20
    for path, text in documents(project).items():
        named = set(re.findall(r"\bAPP_[A-Z_]+\b(?!…)", text)) - {"APP_"}
        assert {name for name in named if not name.endswith("__")} <= known, path


def test_values_of_the_chart_exist(project: Path) -> None:
    schema: dict[str, Any] = json.loads(read(project, "chart/values.schema.json"))

    def there(path: str) -> bool:
        rule: Any = schema
        for part in path.split("."):
            rule = rule.get("properties", {}).get(part)
            if rule is None:
                return False
        return True

    known = {inner for rule in schema["properties"].values() for inner in rule.get("properties", {})}
    for document, text in documents(project).items():
        for name in re.findall(r"--set ([a-zA-Z.]+)=", text):
            assert there(name), f"{document}: {name}"
        for name in re.findall(r"`([a-z]+[A-Za-z]*Seconds)\b", text):
            assert name in {*known, *schema["properties"], "terminationGracePeriodSeconds"}, f"{document}: {name}"
        for top, inner in re.findall(r"`([a-z][A-Za-z]+)\.(?!py`)([a-zA-Z]+)(?:`|: )", text):
            if top in schema["properties"]:
                assert there(f"{top}.{inner}"), f"{document}: {top}.{inner}"


def test_rows_of_balancers_are_those_of_the_chart(project: Path) -> None:
    rows = set(yaml.safe_load(read(project, "chart/files/behind.yaml")))
    table = re.findall(r"^\| (`[a-z].*?) \|", read(project, "docs/balancers.md"), re.MULTILINE)
    assert {name for cell in table for name in re.findall(r"`([a-z-]+)`", cell)} - {"behind"} == rows


def test_files_exist(project: Path) -> None:
    for document, text in documents(project).items():
        for name in re.findall(r"`((?:src|chart|drill|tests|docs)/[\w./-]+)`", text):
            assert (project / name).exists(), f"{document}: {name}"


def test_python_in_documents_parses(project: Path) -> None:
    for path, text in documents(project).items():
        for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            compile(block, str(path), "exec", dont_inherit=True)
