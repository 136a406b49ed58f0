"""`make release` in a new project: what it refuses, and in which order it builds, scans, pushes and signs.

There is no container engine to build with: programs that write down what they are asked for stand in for docker, trivy
and cosign. Helm and its push are real.
"""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registry import Registry, registry
from tests.template import Template, git, surroundings

pytestmark = pytest.mark.slow
DIGEST = "sha256:" + "c" * 64
# `"$@"` goes to the log; docker also writes what buildx writes of an image that it has pushed, and names its platforms.
STAND_IN = """#!/bin/sh
echo "$(basename "$0") $*" | tee -a "$LOG" >/dev/null
case "$(basename "$0") $*" in $FAILS) exit 1 ;; esac
[ "$*" = "buildx inspect --bootstrap" ] && echo "Platforms: $BUILDS"
while [ $# -gt 0 ]; do
  [ "$1" = --metadata-file ] && printf '{\\n  "containerimage.digest": "%s"\\n}' "$DIGEST" | tee "$2" >/dev/null
  shift
done
exit 0
"""
# To a registry without TLS.
HELM = """#!/bin/sh
[ "$1" = push ] && set -- "$@" --plain-http
exec .venv/bin/python -m dev.helm "$@"
"""


@pytest.fixture(scope="module")
def store() -> Iterator[Registry]:
    with registry() as server:
        yield server


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set up and committed, lock file and all, with a tag."""
    project = Template.copied_to(tmp_path_factory.mktemp("release")).bake()
    subprocess.run(["make", "setup"], cwd=project, env=surroundings(), check=True)
    git("add", "--all", folder=project)
    git("commit", "-m", "first", folder=project)
    git("tag", "v0.1.0", folder=project)
    return project


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, text in {"docker": STAND_IN, "trivy": STAND_IN, "cosign": STAND_IN, "helm-plain": HELM}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def release(
    project: Path,
    tools: Path,
    store: Registry,
    *more: str,
    fails: str = "-",
    builds: str = "linux/amd64*, linux/amd64/v2, linux/arm64, linux/386",
) -> "subprocess.CompletedProcess[str]":
    path = f"{tools}:{os.environ['PATH']}"
    image = f"{store.address}/team/example-service"
    return subprocess.run(
        ["make", "release", f"IMAGE={image}", f"TRIVY={tools / 'trivy'}", f"HELM={tools / 'helm-plain'}", *more],
        cwd=project,
        env=surroundings()
        | {"PATH": path, "LOG": str(tools / "log"), "DIGEST": DIGEST, "FAILS": fails, "BUILDS": builds},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def calls(tools: Path) -> list[str]:
    log = tools / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [line for line in lines if "buildx inspect" not in line]


def test_each_image_is_scanned_and_their_index_and_the_chart_are_pushed_and_signed_by_digest(
    project: Path, tools: Path, store: Registry
) -> None:
    done = release(project, tools, store)
    assert done.returncode == 0, done.stdout + done.stderr
    *scanned, push, sign_image, sign_chart = calls(tools)
    image = f"{store.address}/team/example-service"
    build = f"docker buildx build --build-arg REVISION={git('rev-parse', 'HEAD', folder=project)}"
    for platform in ("linux/amd64", "linux/arm64"):
        archive, scan, *scanned = scanned
        assert archive == f"{build} --platform {platform} --output type=docker,dest=build/image.tar ."
        assert re.fullmatch(r"trivy .*--exit-code 1 .*--severity HIGH,CRITICAL --input build/image\.tar", scan)
    assert scanned == []
    assert push.startswith(f"{build} --platform linux/amd64,linux/arm64 --push --tag {image}:0.1.0 ")
    assert {"--sbom=true", "--provenance=mode=max"} <= set(push.split())
    assert sign_image == f"cosign sign --yes {image}@{DIGEST}"
    manifest = store.pushed["/v2/team/charts/example-service/manifests/0.1.0"]
    assert json.loads(manifest)["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    digest = hashlib.sha256(manifest).hexdigest()
    assert sign_chart == f"cosign sign --yes {store.address}/team/charts/example-service@sha256:{digest}"


def test_what_the_scan_finds_is_not_pushed(project: Path, tools: Path, store: Registry) -> None:
    assert release(project, tools, store, fails="trivy*").returncode != 0
    assert [call.split()[0] for call in calls(tools)] == ["docker", "trivy"]


def test_what_cannot_be_built_for_one_platform_is_not_pushed(project: Path, tools: Path, store: Registry) -> None:
    assert release(project, tools, store, fails="docker*linux/arm64*--output*").returncode != 0
    assert [call.split()[0] for call in calls(tools)] == ["docker", "trivy", "docker"]


def test_one_platform_is_enough(project: Path, tools: Path, store: Registry) -> None:
    done = release(project, tools, store, "PLATFORMS=linux/amd64", builds="linux/amd64*, linux/386")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [call.split()[0] for call in calls(tools)] == ["docker", "trivy", "docker", "cosign", "cosign"]
    assert "linux/arm64" not in "".join(calls(tools))


def test_a_platform_that_the_builder_lacks_is_named(project: Path, tools: Path, store: Registry) -> None:
    done = release(project, tools, store, builds="linux/amd64*, linux/386")
    assert done.returncode != 0
    assert "cannot build for linux/arm64, one of PLATFORMS=linux/amd64,linux/arm64: leave it out" in done.stderr
    assert "tonistiigi/binfmt --install arm64" in done.stderr
    assert calls(tools) == []


def test_a_commit_without_its_tag_is_refused(project: Path, tools: Path, store: Registry) -> None:
    git("tag", "--delete", "v0.1.0", folder=project)
    try:
        done = release(project, tools, store)
    finally:
        git("tag", "v0.1.0", folder=project)
    assert done.returncode != 0
    assert "pyproject.toml says 0.1.0, so the commit needs the tag v0.1.0" in done.stderr
    assert calls(tools) == []


def test_what_is_not_committed_is_refused(project: Path, tools: Path, store: Registry) -> None:
    (project / "new").touch()
    try:
        done = release(project, tools, store)
    finally:
        (project / "new").unlink()
    assert done.returncode != 0
    assert "no uncommitted changes" in done.stderr
    assert calls(tools) == []


def test_a_missing_tool_is_named(project: Path, tools: Path, store: Registry) -> None:
    (tools / "cosign").unlink()
    done = release(project, tools, store)
    assert done.returncode != 0
    assert "cosign is missing" in done.stderr
    assert calls(tools) == []
