"""cruft keeps projects up to date with the template, although our folder's name has angle brackets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template import Template, files_in, git


def cruft(*arguments: str, folder: Path) -> str:
    command = [sys.executable, "-m", "cruft", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commit(folder: Path, message: str) -> None:
    git("add", "--all", folder=folder)
    git("commit", "-m", message, folder=folder)


@pytest.fixture
def template_repository(template: Template) -> Template:
    template.ask(database=["none", "sqlite"], _features={"database": {"sqlite": ["sql.py"]}})
    template.write("sql.py", "QUERY = ''\n")
    git("init", folder=template.folder)
    commit(template.folder, "the template")
    return template


@pytest.fixture
def project(template_repository: Template) -> Path:
    """A project made by cruft, committed by its owner."""
    output = template_repository.output
    extra = json.dumps({"project_name": "Zoë's Service", "project_slug": "payment-api"})
    cruft("create", str(template_repository.folder), "--no-input", "--extra-context", extra, folder=output)
    project = output / "payment-api"
    commit(project, "first")
    return project


def test_create_makes_a_project_with_a_repository(project: Path) -> None:
    assert (project / "README.md").read_text(encoding="utf-8") == "# Zoë's Service\n"
    assert {path.as_posix() for path in files_in(project)} == {"README.md", ".cruft.json"}
    assert git("branch", "--show-current", folder=project) == "main"


def test_check_and_diff_find_nothing_new(project: Path) -> None:
    assert "SUCCESS" in cruft("check", folder=project)
    assert cruft("diff", "--exit-code", folder=project) == "", "not a word from the hooks in a patch"


def test_diff_shows_what_the_owner_changed_and_only_that(project: Path) -> None:
    (project / "README.md").write_text("# Mine\n")
    changed = [line for line in cruft("diff", folder=project).splitlines() if line.startswith("diff --git")]
    assert len(changed) == 1
    assert "README.md" in changed[0]


def test_update_brings_what_is_new_and_keeps_the_repository(template_repository: Template, project: Path) -> None:
    first = git("rev-parse", "HEAD", folder=project)
    template_repository.write("NEWS.md", "# News of << cookiecutter.project_slug >>\n")
    commit(template_repository.folder, "news")

    said = cruft("update", "--skip-apply-ask", folder=project)

    assert "to try next" not in said
    assert (project / "NEWS.md").read_text() == "# News of payment-api\n"
    changed = git("status", "--porcelain", "--untracked-files=all", folder=project).split()[1::2]
    assert sorted(changed) == [".cruft.json", "NEWS.md"], "pruned files stay away, nothing of git's own comes in"
    assert git("rev-parse", "HEAD", folder=project) == first
    assert "SUCCESS" in cruft("check", folder=project)
