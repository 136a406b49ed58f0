"""What is drilled: one Deployment and the Service in front of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from drill.backend import Manifest
from drill.chart.release import Release
from drill.chart.workload import Workload
from drill.cluster.api import Api, ApiError
from drill.errors import DrillError
from drill.plan import Plan

#: They would undo what a scenario does to the number of pods.
AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


@dataclass(frozen=True)
class Target:
    """Manifests, rendered or read; ``objects`` are those that the drill has to install."""

    deployment: Manifest
    service: Manifest
    objects: tuple[Manifest, ...] = ()

    @property
    def workload(self) -> Workload:
        return Workload.read(self.deployment)

    @property
    def selector(self) -> str:
        """The pods' label selector, as a query has it."""
        return ",".join(f"{name}={value}" for name, value in self.workload.selector.items())

    @property
    def port(self) -> int:
        """The Service's port for HTTP: the one of that name, or the first."""
        ports = self.service["spec"]["ports"]
        return int(next((p for p in ports if p.get("name") == "http"), ports[0])["port"])

    @property
    def container_port(self) -> int:
        ports = self.workload.template.ports
        return ports["http"] if "http" in ports else next(iter(ports.values()))


def rendered(plan: Plan, name: str, namespace: str) -> Target:
    """The chart as the plan has it. Raises DrillError."""
    values = plan.values.setting(replicas=plan.replicas)
    release = Release.render(values, name, namespace)
    deployment = release.deployment()
    change(plan, deployment)
    tests = [o for o in release.objects if o not in release.all(o["kind"])]
    objects = tuple(o for o in release.objects if o not in tests and o["kind"] not in AUTOSCALERS)
    return Target(deployment, front(release.all("Service"), deployment), objects)


async def existing(api: Api, namespace: str, release: str) -> Target:
    """The Deployment of a release that is there, by Helm's label or by its own name."""
    apps = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    found = (await api.get(apps, labelSelector=f"app.kubernetes.io/instance={release}"))["items"]
    if not found:
        try:
            found = [await api.get(f"{apps}/{release}")]
        except ApiError as error:
            if error.status != 404:
                raise
    if len(found) != 1:
        raise DrillError(
            f"--release {release}: there are {len(found)} Deployments of that release in "
            f"namespace {namespace}: name a release, or a Deployment, that is there."
        )
    services = (await api.get(f"/api/v1/namespaces/{namespace}/services"))["items"]
    return Target(found[0], front(services, found[0]))


def change(plan: Plan, deployment: Manifest) -> None:
    """What the plan wants otherwise than it is."""
    deployment["spec"]["replicas"] = plan.replicas
    for patch in plan.patches:
        patch(deployment)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    kept = [v for v in container.get("env") or () if v["name"] not in plan.environment]
    container["env"] = kept + [
        {"name": name, "value": value} for name, value in plan.environment.items()
    ]


def front(services: Sequence[Manifest], deployment: Manifest) -> Manifest:
    """The Service that leads to the Deployment's pods. Raises DrillError where there is none."""
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    for service in services:
        spec = service["spec"]
        selector = spec.get("selector") or {}
        if selector and selector.items() <= labels and spec.get("clusterIP") != "None":
            return service
    raise DrillError(
        f"no Service with an address of its own leads to {deployment['metadata']['name']}: "
        "the load needs one to call."
    )


def address(service: Manifest) -> str:
    """The IPv4 address of a Service, which kube-proxy turns into that of a pod."""
    spec = service["spec"]
    for found in spec.get("clusterIPs") or [spec.get("clusterIP") or ""]:
        if "." in found:
            return str(found)
    name = service["metadata"]["name"]
    raise DrillError(f"Service {name} has no IPv4 address: the load knows no other.")
