"""The day of somebody who has just made a project: set it up, lint it, test it, look at what changed."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.template import FULLEST, LEANEST, Answers, Template, git, surroundings

pytestmark = pytest.mark.slow
#: Twice as many as there are cores: a third of their time these tests compute, the rest they wait.
WORKERS = str(2 * (os.cpu_count() or 1))
once = pytest.mark.parametrize("answers", [{}], ids=["defaults"], indirect=True)


def make(target: str, project: Path, **variables: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", target],
        cwd=project,
        env=surroundings() | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"make {target}:\n{done.stdout[-20_000:]}"
    print(done.stdout[-2_000:])  # noqa: T201
    return done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def is_served(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


@pytest.fixture(
    scope="module",
    params=[{}, LEANEST, FULLEST | {"drill": "no"}],
    ids=["defaults", "leanest", "others"],
)
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


def dry_run(project: Path, platform: str) -> "subprocess.CompletedProcess[str]":
    """What the Dockerfile's `uv sync` would install there, without building from source."""
    uv = shutil.which("uv") or ".tools/bin/uv"
    sync = [uv, "sync", "--locked", "--no-dev", "--no-install-project", "--no-build", "--dry-run"]
    return subprocess.run(
        [*sync, "--python", str(project / ".venv/bin/python"), "--python-platform", platform],
        cwd=project,
        env=surroundings() | {"UV_PROJECT_ENVIRONMENT": str(project / "build" / "image")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("libc", ["gnu", "musl"])
def test_the_image_needs_no_compiler_on_any_platform_of_a_release(project: Path, machine: str, libc: str) -> None:
    done = dry_run(project, f"{machine}-unknown-linux-{libc}")
    assert done.returncode == 0, done.stderr
    assert re.search(r"Would install \d\d packages", done.stderr), done.stderr


@once
def test_a_dependency_without_a_wheel_would_be_noticed(project: Path) -> None:
    assert "--no-build" in dry_run(project, "riscv64-unknown-linux").stderr


@once
@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("src/app/lifecycle/http/streams.py", "app.lifecycle.management.probes"),
        ("src/app/lifecycle/phase.py", "app.lifecycle.stop"),
        ("src/app/lifecycle/service.py", "app.settings"),
        ("src/app/lifecycle/service.py", "app.lifecycle.settings"),
        ("src/app/observability/logging.py", "app.lifecycle.phase"),
        ("src/app/api/examples.py", "app.main"),
        ("src/app/main.py", "drill.plan"),
        ("drill/plan.py", "app.settings"),
    ],
)
def test_an_import_against_the_layers_is_refused(project: Path, module: str, imported: str) -> None:
    path = project / module
    before = path.read_text(encoding="utf-8")
    path.write_text(f"{before}\nimport {imported}\n", encoding="utf-8")
    try:
        command = [".venv/bin/lint-imports", "--no-cache"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert imported in done.stdout


@once
def test_uv_is_fetched_for_a_project_that_was_set_up_with_another_one(project: Path) -> None:
    make("setup", project, PATH="/usr/bin:/bin")
    (project / "pyproject.toml").touch()
    make("setup", project, PATH="/usr/bin:/bin")


def test_its_tests_pass(project: Path) -> None:
    make("test", project, PYTEST_XDIST_AUTO_NUM_WORKERS=WORKERS)


@once
def test_the_client_of_kubernetes_comes_with_the_first_drill_on_a_cluster(project: Path) -> None:
    with pytest.raises(AssertionError, match=r"kubeconfig|nowhere") as refused:
        make("drill", project, ARGS="--backend cluster --context nowhere")
    assert "is not installed" not in str(refused.value)


def test_its_chart_is_sound(project: Path) -> None:
    make("chart", project)
    make("scan", project)


@once
def test_it_serves_until_ctrl_c(project: Path) -> None:
    """The whole chain: make, what starts the service anew after changes, and the service."""
    ports = {"APP_PORT": str(free_port()), "APP_MANAGEMENT_PORT": str(free_port())}
    environment = surroundings() | ports | {"APP_CONTROL_SOCKET": f"{project}/build/control.sock"}
    (project / "build").mkdir(exist_ok=True)
    run = subprocess.Popen(
        ["make", "run"], cwd=project, env=environment, stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 180
        while not is_served(f"http://127.0.0.1:{ports['APP_PORT']}/hello"):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)
        said = run.communicate(timeout=120)[0].decode()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert '"exit_code": 0' in said


@once
def test_what_lint_refuses_is_not_committed(project: Path) -> None:
    """With `prek`, which reads the same file as `pre-commit`."""
    prek = str(Path(sys.executable).parent / "prek")
    subprocess.run([prek, "install", "--quiet"], cwd=project, check=True)

    def commit(text: str) -> "subprocess.CompletedProcess[str]":
        (project / "src/app/api/more.py").write_text(text, encoding="utf-8")
        git("add", "src/app/api/more.py", folder=project)
        command = ["git", "commit", "-m", "more"]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)

    try:
        refused = commit("import os\n")
        assert refused.returncode != 0
        assert "F401" in refused.stdout + refused.stderr
        accepted = commit('"""More routes."""\n')
        assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    finally:
        subprocess.run([prek, "uninstall", "--quiet"], cwd=project, check=True)


@once
def test_its_drill_loses_nothing(project: Path) -> None:
    make("drill", project)


def test_working_in_it_leaves_nothing_to_tidy(project: Path) -> None:
    """All that set-up and tests make is ignored by git, but for the lock file, which belongs to the owner."""
    changed = git("status", "--porcelain", "--untracked-files=all", folder=project).splitlines()
    assert [line[3:] for line in changed] in ([], ["uv.lock"])
