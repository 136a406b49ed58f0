"""What happens once, when a project is new: its repository, and a word on what to try."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template import Template, git


def test_a_new_project_has_a_repository(template: Template) -> None:
    project = template.bake()
    assert git("symbolic-ref", "HEAD", folder=project) == "refs/heads/main"
    assert git("rev-list", "--all", folder=project) == "", "the first commit is its owner's"


def test_the_branch_is_main_whatever_git_is_told(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "gitconfig"
    config.write_text("[init]\n\tdefaultBranch = trunk\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    assert git("symbolic-ref", "HEAD", folder=template.bake()) == "refs/heads/main"


def test_a_second_bake_keeps_the_repository(template: Template, capfd: pytest.CaptureFixture[str]) -> None:
    project = template.bake()
    git("checkout", "-b", "work", folder=project)
    git("commit", "--allow-empty", "-m", "mine", folder=project)
    commit = git("rev-parse", "HEAD", folder=project)
    capfd.readouterr()
    template.bake()
    assert (git("rev-parse", "HEAD", folder=project), git("branch", "--show-current", folder=project)) == (
        commit,
        "work",
    )
    assert "existing git repository was not changed" in capfd.readouterr().out


def test_no_repository_inside_another(template: Template, capfd: pytest.CaptureFixture[str]) -> None:
    git("init", folder=template.output)
    outer, template.output = template.output, template.output / "services"
    assert not (template.bake() / ".git").exists()
    assert f"inside the git repository {outer}" in capfd.readouterr().out


def test_a_bake_from_a_git_hook_leaves_that_repository_alone(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git("init", "other", folder=tmp_path)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    assert (template.bake() / ".git").is_dir()


def test_no_git_is_no_failure(
    template: Template, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(template.output))
    project = template.bake()
    assert not (project / ".git").exists()
    assert "git is not installed" in capfd.readouterr().out


def test_a_git_that_refuses_is_no_failure(
    template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'disk full' >&2\nexit 128\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    template.bake()
    assert "git failed: disk full" in capfd.readouterr().out


@pytest.mark.parametrize("where", [".", "below", "../beside", "with space"])
def test_the_commands_work_where_they_are_read(template: Template, where: str) -> None:
    template.write("Makefile", "setup drill:\n\t@echo $@ >> log\n")
    command = [sys.executable, "-m", "cookiecutter", str(template.folder), "--no-input", "--config-file"]
    command += [str(template.config), "--output-dir", where]
    environment = os.environ | {"PWD": str(template.output)}
    done = subprocess.run(command, cwd=template.output, env=environment, capture_output=True, text=True, check=True)
    commands = [line for line in done.stdout.splitlines() if line.startswith("  ")]
    assert len(commands) == 3
    subprocess.run("\n".join(commands), shell=True, cwd=template.output, check=True)  # noqa: S602
    project = template.output / where / "example-service"
    assert (project / "log").read_text() == "setup\ndrill\n"


def test_hooks_need_no_more_than_python(template: Template) -> None:
    # -I -S: no site-packages, so that an import of anything else would fail.
    for hook in sorted((template.folder / "hooks").iterdir()):
        lines = hook.read_text(encoding="utf-8").splitlines()
        imports = "\n".join(line for line in lines if line.startswith(("import ", "from ")))
        subprocess.run([sys.executable, "-I", "-S", "-c", imports], check=True)
        assert not {"urllib", "http", "socket", "requests"} & set(imports.split()), "no network in hooks"


def test_git_is_there() -> None:
    assert shutil.which("git"), "every test here would mean something else without it"
