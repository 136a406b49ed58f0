"""CI on both sides: valid, pinned, and made of commands that exist."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Bake
from tests.template import QUESTIONS, ROOT

PLACES = {"github": ".github/workflows/ci.yml", "gitlab": ".gitlab-ci.yml"}
TOOLS = Path(sys.executable).parent
OURS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def check(*command: str, folder: Path) -> None:
    done = subprocess.run([TOOLS / command[0], *command[1:]], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def workflows(project: Path) -> list[Path]:
    return sorted((project / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("answer", QUESTIONS["ci"])
def test_only_what_was_asked_for_is_there(bake: Bake, answer: str) -> None:
    project = bake(ci=answer)
    assert {name for name, path in PLACES.items() if (project / path).exists()} == {answer} - {"none"}
    assert (project / ".github").exists() is (answer == "github")


def test_workflows_are_sound(bake: Bake) -> None:
    for folder in (ROOT, bake(ci="github")):
        files = [str(path) for path in workflows(folder)]
        assert files
        check("actionlint", "-shellcheck=", "-pyflakes=", *files, folder=folder)
        check("zizmor", "--offline", "--quiet", *files, folder=folder)


def test_the_pipeline_follows_the_schema(bake: Bake) -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab-ci.yml", folder=bake(ci="gitlab"))


def test_dependencies_are_kept_up_to_date_on_both_sides(bake: Bake) -> None:
    ours = str(ROOT / "renovate.json")
    check("check-jsonschema", "--builtin-schema", "vendor.renovate", ours, "renovate.json", folder=bake(ci="github"))
    assert not (bake(ci="none") / "renovate.json").exists()


def test_what_renovate_looks_for_by_pattern_is_there(bake: Bake) -> None:
    for folder in (ROOT, bake()):
        for manager in json.loads((folder / "renovate.json").read_text(encoding="utf-8"))["customManagers"]:
            pattern = manager["matchStrings"][0].replace("(?<", "(?P<")
            assert re.search(pattern, (folder / "Makefile").read_text(encoding="utf-8")), pattern


def test_actions_are_pinned_by_digest(bake: Bake) -> None:
    for path in (*OURS, *workflows(bake(ci="github"))):
        used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
        assert used
        assert [one for one in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\$/.*", one)] == []


@pytest.mark.parametrize("drill", QUESTIONS["drill"])
@pytest.mark.parametrize("ci", PLACES)
def test_jobs_run_targets_that_exist_and_the_same_ones_everywhere(bake: Bake, ci: str, drill: str) -> None:
    project = bake(ci=ci, drill=drill)
    files = workflows(project) or [project / PLACES[ci]]
    named = {name for path in files for name in re.findall(r"make ([a-z]+)", path.read_text(encoding="utf-8"))}
    assert named - {"drill"} == {"lint", "test", "chart", "image", "release"}
    assert ("drill" in named) == (drill == "yes")
    assert named <= set(re.findall(r"^([a-z]+):", (project / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_the_templates_own_jobs_run_targets_that_exist() -> None:
    makefiles = (ROOT / "Makefile", ROOT / "<<cookiecutter.project_slug>>" / "Makefile")
    targets = {
        name
        for path in makefiles
        for name in re.findall(r"^([a-z-]+):", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    lines = re.findall(
        r"run: make ([a-z ]+?)(?: #.*| [A-Z]+=.*)?$", "".join(path.read_text("utf-8") for path in OURS), re.MULTILINE
    )
    named = {target for line in lines for target in line.split()}
    assert {"test", "demo", "bake", "image", "drill"} <= named <= targets


def piped(script: str, *arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run([ROOT / ".ci" / script, *arguments], input=text, capture_output=True, text=True, check=False)


def test_the_three_newest_versions_of_kubernetes_are_read_from_kinds_notes() -> None:
    digest = "@sha256:" + "0a" * 32
    versions = ["v1.34.0", "v1.33.4", "v1.33.12", "v1.9.9", "v1.32.8"]
    notes = "".join(f"- {version}: `kindest/node:{version}{digest}`\n" for version in versions)
    done = piped("node_images.py", text=notes)
    assert done.returncode == 0
    assert json.loads(done.stdout.removeprefix("images=")) == [
        f"kindest/node:{version}{digest}" for version in ("v1.34.0", "v1.33.12", "v1.32.8")
    ]


def test_notes_without_images_fail() -> None:
    done = piped("node_images.py", text="- v1.34.0: `kindest/node:v1.34.0`\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "name 0 images" in done.stderr


def test_a_release_says_what_the_changelog_says() -> None:
    done = piped("notes.py", "vUnreleased")
    assert done.returncode == 0
    assert done.stdout.startswith("### ")
    assert "## [" not in done.stdout


def test_a_version_without_notes_is_not_released() -> None:
    done = piped("notes.py", "v0.0.0")
    assert (done.returncode, done.stdout) == (1, "")
    assert "has no section for v0.0.0" in done.stderr
