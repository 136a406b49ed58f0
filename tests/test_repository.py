"""What the repository says of itself is true."""

import os
import re
import tomllib
from urllib.parse import unquote

import pytest

from tests.template import BODY, QUESTIONS, ROOT, files_in, kept_files

README = (ROOT / "README.md").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


DOCUMENTS = [path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", [*DOCUMENTS, ".ci/run", ".pre-commit-config.yaml"])
def test_every_make_target_that_is_named_exists(document: str) -> None:
    own = set(re.findall(r"^([a-z-]+):", (BODY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(
        re.findall(r"(?:`|^|exec |entry: )make ([a-z-]+)", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named <= TARGETS | own


def test_the_two_commands_are_on_the_first_screen() -> None:
    screen = "\n".join(README.splitlines()[:30])
    assert "make demo" in screen
    assert "make test" in screen
    assert "cookiecutter gh:" in screen


def test_every_question_is_explained() -> None:
    asked = [name for name in QUESTIONS if not name.startswith("_")]
    assert re.findall(r"^\| `([a-z_]+)` \|", README, re.MULTILINE) == asked
    assert set(QUESTIONS["__prompts__"]) == set(asked)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_file_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)|(?:src|srcset)=\"([^\"]+)\"", text)
    places = [(ROOT / document).parent / unquote(link or image) for link, image in links]
    assert [place for place in places if not place.exists()] == []


def test_every_page_is_linked_from_the_readme() -> None:
    assert [page for page in DOCUMENTS if page.startswith("docs/") and f"]({page})" not in README] == []


def test_every_choice_and_default_is_in_its_row() -> None:
    rows = {row[0]: row for row in re.findall(r"^\| `([a-z_]+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)}
    for name, asked in QUESTIONS.items():
        if isinstance(asked, list) and not name.startswith("_"):
            _, default, text = rows[name]
            assert default == asked[0]
            assert all(value in f"{default} {text}" for value in asked), name
        elif not name.startswith("_") and "<<" not in asked:
            assert rows[name][1] in {asked, "one sentence"}, name


def test_tools_are_locked_with_hashes_and_without_hosts() -> None:
    lock = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["dev"]
    assert {re.split(r"[^a-z0-9-]", line, maxsplit=1)[0] for line in wanted} <= pinned
    assert len(re.findall(r"^[a-z0-9-]+==[^\\]*\\\n    --hash=", lock, re.MULTILINE)) == len(pinned)
    assert "://" not in lock
    assert "--index" not in lock


def test_the_default_bake_goes_where_make_looks_for_it() -> None:
    assert "build/example-service" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "example-service" in QUESTIONS["project_slug"]


def test_ci_can_run_it() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_nothing_in_the_body_is_ignored_by_git() -> None:
    kept = {path.relative_to(BODY.name) for path in kept_files() if path.parts[0] == BODY.name}
    made = {"__pycache__", ".venv", ".ruff_cache", ".mypy_cache", ".pytest_cache", ".hypothesis", "uv.lock", "build"}
    assert [path for path in files_in(BODY) if path not in kept and not made & set(path.parts)] == []
