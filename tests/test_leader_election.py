"""What `leader_election` brings, and that nothing of it is there without."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bake
from tests.template import QUESTIONS, files_in

FILES = QUESTIONS["_features"]["leader_election"]["yes"]["files"]
ANSWERS = pytest.mark.parametrize("answer", QUESTIONS["leader_election"])


def read(project: Path, path: str) -> str:
    return (project / path).read_text(encoding="utf-8")


@ANSWERS
def test_files(bake: Bake, answer: str) -> None:
    project = bake(leader_election=answer)
    assert {path for path in FILES if (project / path).exists()} == (set(FILES) if answer == "yes" else set())


@ANSWERS
def test_the_client_is_a_dependency(bake: Bake, answer: str) -> None:
    metadata = tomllib.loads(read(bake(leader_election=answer), "pyproject.toml"))
    wanted = {re.split(r"[^\w-]", line, maxsplit=1)[0] for line in metadata["project"]["dependencies"]}
    assert ("kubernetes" in wanted) is (answer == "yes")


@ANSWERS
def test_chart_values(bake: Bake, answer: str) -> None:
    project = bake(leader_election=answer)
    values: dict[str, Any] = yaml.safe_load(read(project, "chart/values.yaml"))
    schema: dict[str, Any] = json.loads(read(project, "chart/values.schema.json"))
    there = answer == "yes"
    assert ("leaderElection" in values) is there
    assert ("leaderElection" in schema["properties"]) is there
    assert ("leaderElection.leaseSeconds: " in read(project, "chart/files/defaults.yaml")) is there
    assert ("APP_LEADER_ELECTION__LEASE" in read(project, "chart/templates/deployment.yaml")) is there


@ANSWERS
def test_rights(bake: Bake, answer: str) -> None:
    assert ("leases" in read(bake(leader_election=answer), "chart/templates/role.yaml")) is (answer == "yes")


@ANSWERS
def test_settings_and_the_parameter(bake: Bake, answer: str) -> None:
    project = bake(leader_election=answer)
    assert ("class LeaderElection" in read(project, "src/app/lifecycle/settings.py")) is (answer == "yes")
    assert ("singleton: bool" in read(project, "src/app/lifecycle/tasks.py")) is (answer == "yes")
    assert ("singleton=True" in read(project, "src/app/main.py")) is (answer == "yes")


def test_without_it_nothing_speaks_of_it(bake: Bake) -> None:
    project = bake()
    found = [
        path.as_posix()
        for path in files_in(project)
        if re.search(rb"(?i)leader|singleton|\blease", (project / path).read_bytes())
    ]
    assert found == []


def test_one_module_of_the_service_knows_the_client(bake: Bake) -> None:
    project = bake(leader_election="yes")
    users = [
        path.as_posix()
        for path in files_in(project)
        if path.parts[0] == "src"
        and path.suffix == ".py"
        and re.search(r"^\s*(?:from|import) kubernetes\b", read(project, str(path)), re.MULTILINE)
    ]
    assert users == ["src/app/components/lease_api.py"]


def test_the_client_is_imported_late(bake: Bake) -> None:
    """A service is ready long before it has read 500 modules: nothing imports them at the top."""
    source = read(bake(leader_election="yes"), "src/app/components/lease_api.py")
    top = "\n".join(line for line in source.splitlines() if line.startswith(("import ", "from ")))
    assert not re.search(r"^(import|from) kubernetes\b", top, re.MULTILINE)
    assert "aiohttp" not in top
