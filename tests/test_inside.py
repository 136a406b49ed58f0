"""The tests of what only the template's maintainers change, run where it runs: in a generated project.

``tests/inside/core`` is laid over the tests of every project that is baked here, the other folders over those
with the answer of that name. ``make inside`` makes such a project to work in.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.inside_project import make_inside_project
from tests.template import Answers, surroundings

pytestmark = pytest.mark.slow
#: Twice as many as there are cores: a third of their time these tests compute, the rest they wait.
WORKERS = str(2 * (os.cpu_count() or 1))
#: What leader election changes.
LEADING = [
    "tests/leader_election",
    "tests/test_command.py",
    "tests/test_identity.py",
    "tests/test_metrics.py",
    "tests/test_reference.py",
    "tests/test_settings_refused.py",
    "tests/test_singletons.py",
    "tests/test_stop_idle.py",
    "tests/test_tasks.py",
]
LEADING_CHART = [
    "tests/chart/test_dashboard.py",
    "tests/chart/test_definitions.py",
    "tests/chart/test_leases.py",
    "tests/chart/test_objects.py",
    "tests/chart/test_rendering.py",
    "tests/chart/test_rules.py::test_every_alert_fires_in_some_case",
    "tests/chart/test_rules.py::test_who_fires_when[nobody leads]",
    "tests/chart/test_rules.py::test_who_fires_when[two lead]",
]


@pytest.fixture(scope="module", params=[{}, {"leader_election": "yes"}], ids=["defaults", "leader-election"])
def answers(request: pytest.FixtureRequest) -> Answers:
    return dict(request.param)


@pytest.fixture(scope="module")
def project(answers: Answers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inside_project(tmp_path_factory.mktemp("inside"), answers)


def run(project: Path, *command: str) -> None:
    done = subprocess.run(
        [*command],
        cwd=project,
        env=surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-20_000:]}"


def pytest_in(project: Path, *arguments: str) -> None:
    run(project, ".venv/bin/python", "-m", "pytest", "-q", "-n", WORKERS, "--dist", "worksteal", *arguments)


def test_lint_passes(project: Path) -> None:
    run(project, "make", "--no-print-directory", "lint")


def test_the_service(project: Path, answers: Answers) -> None:
    every = ["--ignore", "tests/chart", "--ignore", "tests/drill"]
    pytest_in(project, *(LEADING if answers else every))


def test_the_chart(project: Path, answers: Answers) -> None:
    pytest_in(project, *(LEADING_CHART if answers else ["tests/chart"]))


@pytest.mark.parametrize("answers", [{}], ids=["defaults"], indirect=True)
def test_the_drill(project: Path) -> None:
    pytest_in(project, "tests/drill")
