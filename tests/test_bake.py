"""What comes out of a bake: finished files that nobody could tell from hand-written ones."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Bake
from tests.template import COMBINATIONS, QUESTIONS, Answers, Template, files_in

ODD_TEXT = "Zoë O'Neil & Söhne, #1: 100 % <b> — 東京"

BAKES: dict[str, Answers] = {
    **COMBINATIONS,
    "longest-answers": {
        "project_name": "N" * 60,
        "project_slug": "s" * 40,
        "description": "d" * 120,
        "author_name": "A" * 60,
        "author_email": f"{'m' * 60}@{'example.' * 8}com",
        "image_repository": f"registry.example.com:5000/{'i' * 60}/{'s' * 40}",
    },
    "shortest-answers": {
        "project_name": "N",
        "project_slug": "s",
        "description": "D",
        "author_name": "A",
        "author_email": "a@b.c",
        "image_repository": "i",
    },
    "apostrophes-and-unicode": {
        "project_name": ODD_TEXT,
        "description": ODD_TEXT,
        "author_name": ODD_TEXT,
        "author_email": "zoe.o'neil+tag@example.com",
    },
    "looks-like-yaml": {"project_name": "no: [yes, *x]", "description": "- # 'null'", "author_name": "{a: 1}"},
    "looks-like-a-number": {"project_name": "1e3", "project_slug": "e3", "description": "0x10", "author_name": "007"},
    "slug-is-the-package": {"project_slug": "app"},
    "leader-election-of-the-longest-name": {"leader_election": "yes", "project_slug": "s" * 40},
}


@pytest.fixture(params=BAKES)
def project(request: pytest.FixtureRequest, bake: Bake) -> Path:
    return bake(**BAKES[request.param])


def text_files(project: Path) -> dict[str, str]:
    texts = {}
    for path in files_in(project):
        content = (project / path).read_bytes()
        if b"\0" not in content:
            texts[path.as_posix()] = content.decode("utf-8")
    return texts


def lines_matching(project: Path, pattern: str) -> list[str]:
    found = re.compile(pattern)
    return [
        f"{path}:{number}: {line}"
        for path, text in text_files(project).items()
        for number, line in enumerate(text.splitlines(), 1)
        if found.search(line)
    ]


def test_no_mark_is_left(project: Path) -> None:
    assert lines_matching(project, r"<<|<%|%>|<#|#>|^\s*#%|(?<!>)>>(?!>)") == []


def test_nothing_tells_of_the_template(project: Path) -> None:
    assert lines_matching(project, r"(?i)cookiecutter|jinja|\bcruft\b") == []
    assert [path for path in files_in(project) if "cruft" in path.as_posix()] == []


def test_no_line_ends_in_a_space(project: Path) -> None:
    assert lines_matching(project, r"[ \t]$") == []


def test_no_removed_block_leaves_a_hole(project: Path) -> None:
    scars = []
    for path, text in text_files(project).items():
        # PEP 8 separates functions by two blank lines; in data one is enough.
        most = 1 if path.endswith((".yaml", ".yml", ".toml", ".tpl", ".json")) else 2
        if text and (text[0] == "\n" or not text.endswith("\n") or text.endswith("\n\n") or "\n" * (most + 2) in text):
            scars.append(path)
    assert scars == []


def test_no_folder_is_empty(project: Path) -> None:
    folders = {path for path in project.rglob("*") if path.is_dir() and ".git" not in path.relative_to(project).parts}
    assert [folder for folder in folders if not any(folder.iterdir())] == []


def test_every_file_parses(project: Path) -> None:
    for path, text in text_files(project).items():
        if path.endswith(".py"):
            ast.parse(text, filename=path, feature_version=(3, 11))
        elif path.endswith(".toml"):
            tomllib.loads(text)
        elif path.endswith((".yaml", ".yml")) and not path.startswith("chart/templates/"):
            list(yaml.safe_load_all(text))


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff_is_content(project: Path, command: list[str]) -> None:
    # A longer slug makes longer lines: formatted for one answer is not formatted for all.
    ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "--output-format", "concise", "."]
    done = subprocess.run(ruff, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_metadata_says_what_was_answered(bake: Bake) -> None:
    answers = BAKES["apostrophes-and-unicode"]
    metadata: dict[str, Any] = tomllib.loads((bake(**answers) / "pyproject.toml").read_text(encoding="utf-8"))[
        "project"
    ]
    assert metadata["description"] == answers["description"]
    assert metadata["authors"] == [{"name": answers["author_name"], "email": answers["author_email"]}]


@pytest.mark.parametrize("slug", ["app", "payment-api", "s" * 40])
def test_the_slug_is_the_name_of_everything(bake: Bake, slug: str) -> None:
    project = bake(project_slug=slug)
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project.name == slug
    assert metadata["name"] == slug
    assert slug in metadata["scripts"]
    assert (project / "src" / "app").is_dir(), "the package is called app whatever the service is called"


@pytest.mark.parametrize("version", QUESTIONS["python_version"])
def test_the_image_has_the_python_that_was_chosen(bake: Bake, version: str) -> None:
    dockerfile = (bake(python_version=version) / "Dockerfile").read_text(encoding="utf-8")
    assert set(re.findall(r"(?<![\d.])3\.\d+", dockerfile)) == {version}


@pytest.mark.parametrize("answers", COMBINATIONS.values(), ids=COMBINATIONS)
def test_the_same_answers_make_the_same_bytes(bake: Bake, answers: Answers, tmp_path: Path) -> None:
    contents = [
        {path: ((made / path).read_bytes(), (made / path).stat().st_mode) for path in files_in(made)}
        for made in (bake(**answers), Template.copied_to(tmp_path).bake(**answers))
    ]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("answers", "slug", "image"),
    [
        ({"project_name": "Payment API"}, "payment-api", "ghcr.io/ada-lovelace/payment-api"),
        ({"project_name": "Café №1", "author_name": "Zoë & Co"}, "cafe-no1", "ghcr.io/zoe-co/cafe-no1"),
        ({"project_name": "東京"}, "dong-jing", "ghcr.io/ada-lovelace/dong-jing"),
        ({"project_name": "x" * 39 + " and more"}, "x" * 39, f"ghcr.io/ada-lovelace/{'x' * 39}"),
        ({"project_name": "!", "author_name": "?"}, "example-service", "ghcr.io/example/example-service"),
    ],
    ids=["plain", "accents", "other-script", "too-long", "nothing-left"],
)
def test_slug_and_image_follow_from_the_names(template: Template, answers: Answers, slug: str, image: str) -> None:
    template.write("image", "<< cookiecutter.image_repository >>")
    project = template.bake(**answers)
    assert project.name == slug
    assert (project / "image").read_text(encoding="utf-8") == image
