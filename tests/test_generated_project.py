"""The day of somebody who has just made a project: set it up, lint it, test it, look at what changed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.template import Answers, Template, git

pytestmark = pytest.mark.slow
#: Twice as many as there are cores: a third of their time these tests compute, the rest they wait.
WORKERS = str(2 * (os.cpu_count() or 1))
once = pytest.mark.parametrize("answers", [{}], ids=["defaults"], indirect=True)


def make(target: str, project: Path, **variables: str) -> str:
    # Not what the make that runs these tests would hand down: its flags, its virtual environment.
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "VIRTUAL_ENV"}
    } | variables
    done = subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"make {target}:\n{done.stdout[-20_000:]}"
    print(done.stdout[-2_000:])  # noqa: T201
    return done.stdout


@pytest.fixture(scope="module", params=[{}, {"leader_election": "yes"}], ids=["defaults", "leader-election"])
def answers(request: pytest.FixtureRequest) -> Answers:
    return dict(request.param)


@pytest.fixture(scope="module")
def project(answers: Answers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = Template.copied_to(tmp_path_factory.mktemp("day")).bake(**answers)
    git("add", "--all", folder=project)
    git("commit", "-m", "first", folder=project)
    make("setup", project)
    return project


def test_its_lint_is_content(project: Path) -> None:
    make("lint", project)


@once
def test_uv_is_fetched_for_a_project_that_was_set_up_with_another_one(project: Path) -> None:
    make("setup", project, PATH="/usr/bin:/bin")
    (project / "pyproject.toml").touch()
    make("setup", project, PATH="/usr/bin:/bin")


def test_its_tests_pass(project: Path, answers: Answers) -> None:
    """The drill's own are the same whatever was answered: once is enough."""
    ignored = "--ignore tests/drill" if answers else ""
    make("test", project, ARGS=ignored, PYTEST_XDIST_AUTO_NUM_WORKERS=WORKERS)


@once
def test_its_drill_works_on_a_cluster_that_stands_in_for_a_real_one(project: Path) -> None:
    """The client of Kubernetes comes with the first command that names the cluster."""
    said = make("test", project, ARGS="tests/drill/cluster")
    assert "passed" in said
    assert "is not installed" not in said


def test_its_chart_is_sound(project: Path) -> None:
    make("chart", project)
    make("scan", project)


@once
def test_its_drill_loses_nothing(project: Path) -> None:
    make("drill", project)


def test_working_in_it_leaves_nothing_to_tidy(project: Path) -> None:
    """All that set-up and tests make is ignored by git, but for the lock file, which belongs to the owner."""
    changed = git("status", "--porcelain", "--untracked-files=all", folder=project).splitlines()
    assert [line[3:] for line in changed] in ([], ["uv.lock"])
