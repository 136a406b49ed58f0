"""The chart as it is rendered for one pod."""

import copy
from dataclasses import dataclass
from typing import Any

from drill.backend import Manifest, Patch
from drill.chart.release import Release
from drill.chart.workload import Workload
from drill.local.addresses import Place
from drill.plan import Plan


@dataclass(frozen=True)
class Rendered:
    """A release, and its Deployment with all patches."""

    release: Release
    deployment: Manifest
    workload: Workload

    @property
    def port(self) -> int:
        """Where the pod's clients connect: the Service's target, or else the first port."""
        template = self.workload.template
        for service in self.release.all("Service"):
            port: dict[str, Any] = service["spec"]["ports"][0]
            return template.port(port.get("targetPort", port["port"]))
        return next(iter(template.ports.values()))


class Manifests:
    """Renders the chart of a plan for each place, once for places with the same ports."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._releases: dict[tuple[int, int], Release] = {}

    def render(self, place: Place, patches: tuple[Patch, ...]) -> Rendered:
        """Takes as long as Helm does the first time. Raises DrillError."""
        ports = (place.port, place.management_port)
        if ports not in self._releases:
            values = self._plan.values.setting(
                replicas=self._plan.replicas,
                listen__port=place.port,
                listen__managementPort=place.management_port,
            )
            self._releases[ports] = Release.render(values)
        release = self._releases[ports]
        deployment = copy.deepcopy(release.deployment())
        for patch in (*self._plan.patches, *patches):
            patch(deployment)
        return Rendered(release, deployment, Workload.read(deployment))
