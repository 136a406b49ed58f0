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
#: What spans in every request and task can break.
TRACING = [
    "tests/tracing",
    "tests/test_access_log.py",
    "tests/test_log_lines.py",
    "tests/test_reference.py",
    "tests/test_start.py",
    "tests/test_stop.py",
    "tests/test_stop_streams.py",
    "tests/test_stop_websockets.py",
    "tests/test_tasks.py",
]
#: What a database adds, and what its pool, its schema and its checks can break.
DATABASE = [
    "tests/buffer",
    "tests/database",
    "tests/drill/chart/test_environment.py",
    "tests/drill/test_migration.py",
    "tests/test_away_at_start.py",
    "tests/test_command.py",
    "tests/test_migrations.py",
    "tests/test_notes.py",
    "tests/test_outages.py",
    "tests/test_outbox.py",
    "tests/test_reference.py",
    "tests/test_sessions.py",
    "tests/test_settings_refused.py",
    "tests/test_start.py",
]
#: What a service registry changes.
REGISTERED = [
    "tests/registry",
    "tests/test_command.py",
    "tests/test_drain_policy.py",
    "tests/test_identity.py",
    "tests/test_metrics.py",
    "tests/test_observe.py",
    "tests/test_reference.py",
    "tests/test_settings_refused.py",
    "tests/test_status_page.py",
    "tests/test_stop_idle.py",
]
#: The suites of an answer, of the service and of the chart; the defaults have all.
SUITES = {
    "database": DATABASE,
    "leader_election": LEADING,
    "mesh": ["tests/test_reference.py"],
    "tls": [
        "tests/test_edge.py",
        "tests/test_reference.py",
        "tests/test_rotation.py",
        "tests/test_settings_refused.py",
        "tests/test_tls.py",
        "tests/test_tls_port.py",
    ],
    "argo_rollouts": ["tests/test_reference.py"],
    "service_registry": REGISTERED,
    "tracing": TRACING,
}
CHART_SUITES = {
    "database": [
        "tests/chart/test_chart.py::test_generated_files_are_up_to_date",
        "tests/chart/test_database_values.py",
        "tests/chart/test_definitions.py",
        "tests/chart/test_migrations.py",
        "tests/chart/test_objects.py",
        "tests/chart/test_rendering.py",
        "tests/chart/test_wiring.py",
    ],
    "leader_election": [
        "tests/chart/test_dashboard.py",
        "tests/chart/test_definitions.py",
        "tests/chart/test_leases.py",
        "tests/chart/test_objects.py",
        "tests/chart/test_rendering.py",
        "tests/chart/test_rules.py::test_every_alert_fires_in_some_case",
        "tests/chart/test_rules.py::test_who_fires_when[nobody leads]",
        "tests/chart/test_rules.py::test_who_fires_when[two lead]",
    ],
    "mesh": [
        "tests/chart/test_canary.py",
        "tests/chart/test_definitions.py",
        "tests/chart/test_mesh.py",
        "tests/chart/test_mesh_routes.py",
        "tests/chart/test_missing.py",
        "tests/chart/test_refusals.py::test_no_value_takes_what_it_is_not",
        "tests/chart/test_refusals.py::test_no_object_takes_a_name_it_does_not_know",
        "tests/chart/test_rendering.py",
        "tests/chart/test_times.py::test_the_longest_stop_fits_into_the_grace_period",
    ],
    "tls": [
        "tests/chart/test_definitions.py",
        "tests/chart/test_missing.py",
        "tests/chart/test_refusals.py::test_no_value_takes_what_it_is_not",
        "tests/chart/test_refusals.py::test_no_object_takes_a_name_it_does_not_know",
        "tests/chart/test_rendering.py",
        "tests/chart/test_rules.py",
        "tests/chart/test_tls_values.py",
    ],
    "argo_rollouts": [
        "tests/chart/test_canary.py",
        "tests/chart/test_missing.py",
        "tests/chart/test_objects.py",
        "tests/chart/test_refusals.py::test_no_value_takes_what_it_is_not",
        "tests/chart/test_refusals.py::test_no_object_takes_a_name_it_does_not_know",
        "tests/chart/test_rendering.py",
        "tests/chart/test_replicas.py",
        "tests/chart/test_rollouts.py",
    ],
    "service_registry": [
        "tests/chart/test_chart.py",
        "tests/chart/test_dashboard.py",
        "tests/chart/test_definitions.py",
        "tests/chart/test_refusals.py",
        "tests/chart/test_registry.py",
        "tests/chart/test_rendering.py",
        "tests/chart/test_rules.py",
        "tests/chart/test_times.py",
        "tests/chart/test_wiring.py",
    ],
    "tracing": ["tests/chart/test_rendering.py", "tests/chart/test_tracing.py"],
}
ANSWERS: dict[str, Answers] = {
    "defaults": {},
    "database": {"database": "postgresql"},
    "leader-election": {"leader_election": "yes"},
    "istio": {"mesh": "istio"},
    "linkerd": {"mesh": "linkerd"},
    "tls": {"tls": "yes"},
    "argo-rollouts": {"argo_rollouts": "yes", "mesh": "istio", "tls": "yes"},
    "consul": {"service_registry": "consul", "tls": "yes"},
    "nacos": {"service_registry": "nacos"},
    "etcd": {"service_registry": "etcd"},
    "tracing": {"tracing": "opentelemetry"},
}


@pytest.fixture(scope="module", params=list(ANSWERS.values()), ids=list(ANSWERS))
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
    pytest_in(project, *SUITES.get(next(iter(answers), ""), every))


def test_the_chart(project: Path, answers: Answers) -> None:
    pytest_in(project, *CHART_SUITES.get(next(iter(answers), ""), ["tests/chart"]))


@pytest.mark.parametrize("answers", [{}], ids=["defaults"], indirect=True)
def test_the_drill(project: Path) -> None:
    pytest_in(project, "tests/drill")
