"""The body as it stands, before anything is rendered: valid files, with marks only where they are meant."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.template import BODY, QUESTIONS, ROOT, kept_files

FILES = [path.relative_to(BODY.name) for path in kept_files() if path.parts[0] == BODY.name]
# Everything between << and >>: the answer, perhaps through a filter. Whatever else starts with << is a
# shift, a heredoc or a YAML merge key, which Jinja would swallow, some of them without a word.
VARIABLE = re.compile(r"<< cookiecutter\.([a-z_]+)(?:\.[a-z]+\([^<>()]*\))?(?: \| [a-z_]+(?:\([^<>()]*\))?)* >>")
BLOCKS = re.compile(r"<% (?:if|elif|else|endif|for|endfor|raw|endraw)\b[^<>]*? \+?%>|<# [^<>]*? #>")


def with_suffix(*suffixes: str) -> list[Any]:
    # Chart templates are Go templates that end in .yaml: YAML only once Helm has rendered them.
    return [
        pytest.param(path, id=path.as_posix())
        for path in FILES
        if path.suffix in suffixes and path.parts[:2] != ("chart", "templates")
    ]


def read(path: Path) -> str:
    return (BODY / path).read_text(encoding="utf-8")


def yaml_documents(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("path", with_suffix(".py"))
def test_python_parses(path: Path) -> None:
    ast.parse(read(path), feature_version=(3, 11))


@pytest.mark.parametrize(
    ("parse", "path"),
    [
        pytest.param(parse, *param.values, id=str(param.id))
        for parse, params in ((tomllib.loads, with_suffix(".toml")), (yaml_documents, with_suffix(".yaml", ".yml")))
        for param in params
    ],
)
def test_data_parses(parse: Callable[[str], Any], path: Path) -> None:
    parse(read(path))


def test_ruff_is_content_with_the_body() -> None:
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", BODY.name]
    done = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [pytest.param(path, id=path.as_posix()) for path in FILES])
def test_marks_stand_for_answers_and_nothing_else(path: Path) -> None:
    # Without newlines inside brackets: a mark and its end are on one line.
    rest = BLOCKS.sub("", VARIABLE.sub("", read(path)))
    stray = [line for line in rest.splitlines() if re.search(r"<<|<%|%>|<#|#>|(?<!>)>>(?!>)", line)]
    assert not stray, "these lines would not survive a bake: no heredoc, merge key or shift, please"


@pytest.mark.parametrize("path", with_suffix(".md", ".toml", ".yaml", ".yml"))
def test_no_blank_line_follows_a_line_statement(path: Path) -> None:
    # Jinja removes it: put the blank line before the statement instead.
    assert re.findall(r"^#%.*\n\n", read(path), re.MULTILINE) == []


@pytest.mark.parametrize("path", [pytest.param(path, id=path.as_posix()) for path in FILES])
def test_answers_that_are_used_are_asked_for(path: Path) -> None:
    assert set(VARIABLE.findall(read(path))) <= {name for name in QUESTIONS if not name.startswith("_")}


@pytest.mark.parametrize("path", [pytest.param(path, id=path.as_posix()) for path in FILES])
def test_names_of_files_are_plain(path: Path) -> None:
    # A folder whose name renders empty would be written over its parent.
    assert re.fullmatch(r"[\w./-]+", path.as_posix(), re.ASCII)


def test_a_service_cannot_be_called_like_what_it_installs() -> None:
    project = tomllib.loads(read(Path("pyproject.toml")))
    groups = [project["project"]["dependencies"], *project["project"].get("optional-dependencies", {}).values()]
    groups += project.get("dependency-groups", {}).values()
    wanted = [line for group in groups for line in group if isinstance(line, str)]
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line, maxsplit=1)[0]).lower() for line in wanted}
    assert names <= set(QUESTIONS["_reserved_slugs"])
