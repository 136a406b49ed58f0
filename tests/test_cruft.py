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
    template.ask(database=["none", "sqlite"], _features={"database": {"sqlite": {"files": ["sql.py"]}}})
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


TEN = [f"line {number}" for number in range(10)]


def changed(lines: list[str], **replaced: str) -> str:
    """The lines as a file, some of them replaced: ``line2="other"``."""
    return "".join(replaced.get(line.replace(" ", ""), line) + "\n" for line in lines)


@pytest.fixture
def owned(template_repository: Template, project: Path) -> Path:
    """A project with three files that the template has too, updated to have them, all committed."""
    for name in ("both.py", "same.py", "unwanted.py"):
        template_repository.write(name, changed(TEN))
    commit(template_repository.folder, "three files")
    cruft("update", "--skip-apply-ask", folder=project)
    commit(project, "three files")
    return project


def test_update_keeps_what_both_have_changed(template_repository: Template, owned: Path) -> None:
    (owned / "both.py").write_text(changed(TEN, line1="mine"))
    commit(owned, "mine")
    template_repository.write("both.py", changed(TEN, line8="theirs"))
    commit(template_repository.folder, "theirs")

    cruft("update", "--skip-apply-ask", folder=owned)

    assert (owned / "both.py").read_text() == changed(TEN, line1="mine", line8="theirs")


def test_update_loses_nothing_where_both_changed_the_same_line(template_repository: Template, owned: Path) -> None:
    (owned / "same.py").write_text(changed(TEN, line4="mine"))
    commit(owned, "mine")
    template_repository.write("same.py", changed(TEN, line4="theirs"))
    commit(template_repository.folder, "theirs")

    cruft("update", "--skip-apply-ask", folder=owned)

    rejected = owned / "same.py.rej"
    found = (owned / "same.py").read_text() + (rejected.read_text() if rejected.exists() else "")
    assert "mine" in found
    assert "theirs" in found


def test_update_does_not_bring_back_what_the_owner_has_deleted(template_repository: Template, owned: Path) -> None:
    (owned / "unwanted.py").unlink()
    commit(owned, "not wanted")
    template_repository.write("unwanted.py", changed(TEN, line4="theirs"))
    commit(template_repository.folder, "theirs")

    cruft("update", "--skip-apply-ask", folder=owned)

    assert not (owned / "unwanted.py").exists()


def test_update_carries_the_owners_changes_to_where_a_file_has_moved(
    template_repository: Template, owned: Path
) -> None:
    (owned / "both.py").write_text(changed(TEN, line1="mine"))
    commit(owned, "mine")
    template_repository.remove("both.py")
    template_repository.write("room/both.py", changed(TEN, line8="theirs"))
    commit(template_repository.folder, "a room")

    cruft("update", "--skip-apply-ask", folder=owned)

    assert not (owned / "both.py").exists()
    assert (owned / "room/both.py").read_text() == changed(TEN, line1="mine", line8="theirs")


def test_update_does_not_delete_what_the_owner_has_changed(template_repository: Template, owned: Path) -> None:
    (owned / "same.py").write_text(changed(TEN, line4="mine"))
    commit(owned, "mine")
    template_repository.remove("same.py")
    template_repository.remove("unwanted.py")
    commit(template_repository.folder, "tested in the template from now on")

    cruft("update", "--skip-apply-ask", folder=owned)

    assert "mine" in (owned / "same.py").read_text()
    assert not (owned / "unwanted.py").exists(), "the owner had not changed this one"


def test_a_question_that_is_new_gets_its_default_or_the_answer_given(
    template_repository: Template, project: Path
) -> None:
    template_repository.ask(colour=["blue", "red"])
    template_repository.write("colour.txt", "<< cookiecutter.colour >>\n")
    commit(template_repository.folder, "a question more")

    cruft("update", "--skip-apply-ask", folder=project)
    assert (project / "colour.txt").read_text() == "blue\n"
    commit(project, "blue")

    cruft("update", "--skip-apply-ask", "--variables-to-update", json.dumps({"colour": "red"}), folder=project)
    assert (project / "colour.txt").read_text() == "red\n"


def test_a_project_that_cookiecutter_made_can_be_linked(template_repository: Template) -> None:
    project = template_repository.bake(project_slug="by-hand")
    commit(project, "first")

    cruft("link", str(template_repository.folder), "--no-input", folder=project)
    commit(project, "linked")

    assert "SUCCESS" in cruft("check", folder=project)
    template_repository.write("NEWS.md", "# News\n")
    commit(template_repository.folder, "news")
    cruft("update", "--skip-apply-ask", folder=project)
    assert (project / "NEWS.md").exists()
