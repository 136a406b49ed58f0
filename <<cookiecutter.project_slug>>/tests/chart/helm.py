"""Helm as the tests use it: what it makes of the chart with some values."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from dev import helm
from dev.helm import HelmError

__all__ = ["CHART", "PROJECT", "Helm", "HelmError", "Manifest", "Objects", "found"]

PROJECT = Path(__file__).resolve().parents[2]
CHART = PROJECT / "chart"

Manifest = dict[str, Any]


class Helm(helm.Helm):
    """One Helm."""

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
    def owner(self) -> Manifest:
        """What owns the pods."""
#% if cookiecutter.argo_rollouts == "yes"
        return (self.all("Rollout") or [self.one("Deployment")])[0]

#% else
        return self.one("Deployment")

#% endif
    @property
    def pod(self) -> Manifest:
        """The specification of the service's pods."""
        spec: Manifest = self.owner["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Manifest:
        found: Manifest = self.pod["containers"][0]
        return found

    @property
    def environment(self) -> dict[str, str]:
        """Variables with a value, those of the ConfigMap too, as the kubelet puts them together."""
        together: dict[str, str] = {}
        name = self.owner["metadata"]["name"]
        for config in self.all("ConfigMap"):
            together |= config["data"] if config["metadata"]["name"] == name else {}
        return together | {e["name"]: e["value"] for e in self.container["env"] if "value" in e}


def found() -> list[Helm]:
    return [Helm(one.program) for one in helm.found()]
