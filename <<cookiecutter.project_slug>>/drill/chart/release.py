"""The rendered chart: one release's objects."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import yaml

from dev import helm
from drill.chart.workload import Workload
from drill.errors import DrillError

CHART = Path(__file__).resolve().parents[2] / "chart"
NAME, NAMESPACE = "drill", "drill"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Values:
    """What a release is rendered with: files, then settings, as Helm takes them."""

    files: tuple[Path, ...] = ()
    settings: tuple[str, ...] = ()
    chart: Path = CHART

    def setting(self, **values: object) -> Self:
        """The same with values of the drill's own, which the user's win over."""
        own = tuple(f"{name.replace('__', '.')}={value}" for name, value in values.items())
        return replace(self, settings=(*own, *self.settings))

    def arguments(self) -> list[str]:
        return [
            *(f"--values={path}" for path in self.files),
            *(f"--set={setting}" for setting in self.settings),
        ]


@dataclass(frozen=True)
class Release:
    """The objects of a rendered chart."""

    objects: tuple[Manifest, ...]

    @classmethod
    def render(cls, values: Values, name: str = NAME, namespace: str = NAMESPACE) -> Self:
        """Raises DrillError with Helm's own reason."""
        arguments = ("template", name, str(values.chart), "--namespace", namespace)
        try:
            text = helm.find().run(*arguments, *values.arguments())
        except helm.HelmError as error:
            raise DrillError(str(error)) from error
        release = cls(tuple(document for document in yaml.safe_load_all(text) if document))
        release.deployment()
        return release

    def deployment(self) -> Manifest:
        return self.one("Deployment")

    @property
    def workload(self) -> Workload:
        return Workload.read(self.deployment())

    def one(self, kind: str) -> Manifest:
        found = self.all(kind)
        if len(found) != 1:
            raise DrillError(
                f"the chart renders {len(found)} objects of kind {kind}: there has to be one."
            )
        return found[0]

    def all(self, kind: str) -> Sequence[Manifest]:
        return [o for o in self.objects if o["kind"] == kind and not _is_test(o)]


def _is_test(found: Manifest) -> bool:
    return "helm.sh/hook" in found["metadata"].get("annotations", {})
