"""[drill.cluster.target] What is drilled: one Deployment and the Service in front of it.
[drill.cluster.rollout] The Deployment: updated, rolled back, scaled, and told to be complete as kubectl tells it.
[drill.cluster.scene] What everything that is done in a cluster needs to know of where it is done.
[drill.cluster.installation] A release for a rehearsal: installed, or one that is there, and left as it was.
"""

import asyncio
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

from drill.chart import Manifest, Patch, Release, Workload
from drill.cluster.api import MERGE, Api, ApiError
from drill.cluster.pods import ClusterTimeline
from drill.cluster.resources import Resources, Undo
from drill.cluster.tracker import Tracker
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


#: Writes that another one came before, or whose answer was lost.
ATTEMPTS = 20


class Rollout:
    """One Deployment under drill; ``path`` is where the API has it."""

    def __init__(self, api: Api, path: str, tracker: Tracker) -> None:
        self._api = api
        self._path = path
        self._tracker = tracker
        #: The pod templates of all revisions, as the API has completed them.
        self._templates: list[Manifest] = []

    async def installed(self) -> None:
        """The first revision is what is there now."""
        found = await self._api.get(self._path)
        self._tracker.see_deployment("ADDED", found)
        self._templates = [deepcopy(found["spec"]["template"])]

    async def update(self, patch: Patch) -> None:
        self._tracker.pods.next_revision()
        found = await self.replace(patch)
        self._templates.append(deepcopy(found["spec"]["template"]))

    async def roll_back(self) -> None:
        template = deepcopy(self._templates[-2])
        # The ReplicaSet of that template is used again.
        self._tracker.pods.next_revision(same_as=len(self._templates) - 1)
        await self.replace(lambda deployment: deployment["spec"].update(template=template))
        self._templates.append(template)

    async def scale(self, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        found = await self._api.repeat("PATCH", self._path, body=body, content=MERGE)
        self._tracker.see_deployment("MODIFIED", found)

    async def replace(self, change: Patch) -> Manifest:
        """Read, changed and written back; from the start when somebody wrote in between.

        A write whose answer was lost may have been made: it is not made twice.
        """
        written: Manifest | None = None
        for _ in range(ATTEMPTS):
            found = await self._api.get(self._path)
            if written is not None and found["spec"] == written["spec"]:
                break
            written = deepcopy(found)
            change(written)
            try:
                found = await self._api.call("PUT", self._path, body=written)
                break
            except ApiError as error:
                if error.status != 409 and not error.passing:
                    raise
                await asyncio.sleep(error.after)
        else:
            raise DrillError(f"{self._path} is written to by others all the time: stop them.")
        self._tracker.see_deployment("MODIFIED", found)
        return found

    @property
    def replicas(self) -> int:
        return int(self._tracker.deployment["spec"]["replicas"])

    def complete(self) -> bool:
        """As `kubectl rollout status`: old pods may still be there, being deleted."""
        deployment = self._tracker.deployment
        status = deployment.get("status", {})
        if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
            return False
        updated = status.get("updatedReplicas", 0)
        return bool(
            updated == self.replicas
            and status.get("replicas", 0) == updated
            and status.get("availableReplicas", 0) >= updated
        )

    def stuck(self) -> bool:
        """Whether the Deployment controller gave up, as progressDeadlineSeconds says."""
        deployment = self._tracker.deployment
        status = deployment.get("status", {})
        if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
            return False
        return any(
            condition["type"] == "Progressing"
            and condition.get("reason") == "ProgressDeadlineExceeded"
            for condition in status.get("conditions") or []
        )

    async def completed(self, deadline: float, hopeless: Callable[[], bool] | None = None) -> None:
        """``deadline`` is progressDeadlineSeconds; it starts again with every pod that is ready.

        Raises DrillError when it has passed, or as soon as it is ``hopeless``.
        """

        def decided() -> bool:
            return self.complete() or self.stuck() or (hopeless is not None and hopeless())

        within = deadline * (self.replicas + 1)
        await self._tracker.until(decided, within, "the rollout was not complete")
        if not self.complete():
            why, log = self._tracker.pods.complaint()
            raise DrillError("the rollout makes no progress" + (f": {why}." if why else "."), log)

    def settled(self) -> bool:
        """Complete, every pod serves, no other is left, and the endpoints are theirs."""
        pods, table = self._tracker.pods, self._tracker.table
        return (
            self.complete()
            and pods.all_serve(self.replicas)
            and table.keys() == pods.present.keys()
            and all(endpoint.ready for endpoint in table.values())
        )


#: From a request to the kubelet until the pod shows that it acts.
KUBELET_SECONDS = 60.0


@dataclass(frozen=True)
class Scene:
    """One release under drill."""

    api: Api
    #: The name of what the drill makes.
    name: str
    namespace: str
    timeline: ClusterTimeline
    tracker: Tracker
    undo: Undo
    resources: Resources
    target: Target
    rollout: Rollout

    def path(self, kind: str, name: str) -> str:
        """Of an object of the core API."""
        return f"/api/v1/namespaces/{self.namespace}/{kind}/{name}"

    @property
    def patience(self) -> float:
        """How long one pod may take to stop and another to start, in seconds."""
        workload = self.target.workload
        return workload.template.grace + workload.progress_deadline + KUBELET_SECONDS

    async def until(self, so: Callable[[], bool], otherwise: str) -> None:
        await self.tracker.until(so, self.patience, otherwise)


async def install(scene: Scene) -> None:
    """Every object of the chart but its tests and autoscalers; all are removed at the end."""
    await scene.resources.namespace(scene.name)
    await track(scene)
    present = scene.tracker.pods.present
    scene.undo.add(
        "waiting for the pods",
        scene.resources.kubectl(f"get pods --selector {scene.target.selector}"),
        lambda: scene.until(lambda: not present, "pods were still there"),
    )
    for each in scene.target.objects:
        await scene.resources.apply(each, scene.name)
    await scene.rollout.installed()


async def take(scene: Scene, plan: Plan) -> Scene:
    """A Deployment that is there, changed as the plan wants it, and changed back at the end."""
    was = deepcopy(scene.target.deployment["spec"])
    name, replicas = scene.target.workload.name, was["replicas"]
    deadline = scene.target.workload.progress_deadline
    await track(scene)
    await scene.rollout.installed()

    def as_it_was(deployment: Manifest) -> None:
        deployment["spec"].update(template=was["template"], replicas=replicas)

    async def restore() -> None:
        await scene.rollout.replace(as_it_was)
        await scene.rollout.completed(deadline)

    undo = scene.resources.kubectl(f"rollout undo deployment/{name}")
    scale = scene.resources.kubectl(f"scale deployment/{name} --replicas {replicas}")
    scene.undo.add(f"the change of Deployment {name}", f"{undo} && {scale}", restore)
    await scene.rollout.replace(lambda deployment: change(plan, deployment))
    await scene.rollout.installed()
    return replace(scene, target=replace(scene.target, deployment=scene.tracker.deployment))


async def track(scene: Scene) -> None:
    workload = scene.target.workload
    await scene.tracker.start(
        workload.name,
        workload.template.container["name"],
        scene.target.selector,
        scene.target.service["metadata"]["name"],
    )
