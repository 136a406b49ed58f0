"""The release under drill: its Deployment and Service, installed or already there."""

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

#: They would change the number of pods during a scenario.
AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


@dataclass(frozen=True)
class Target:
    """The manifests, rendered or read; ``objects`` are those to install."""

    deployment: Manifest
    service: Manifest
    objects: tuple[Manifest, ...] = ()

    @property
    def workload(self) -> Workload:
        return Workload.read(self.deployment)

    @property
    def selector(self) -> str:
        """The pods' label selector, as in a query."""
        return ",".join(f"{name}={value}" for name, value in self.workload.selector.items())

    @property
    def port(self) -> int:
        """The Service's port named http, or its first."""
        ports = self.service["spec"]["ports"]
        return int(next((p for p in ports if p.get("name") == "http"), ports[0])["port"])

    @property
    def container_port(self) -> int:
        ports = self.workload.template.ports
        return ports["http"] if "http" in ports else next(iter(ports.values()))


def rendered(plan: Plan, name: str, namespace: str) -> Target:
    """Render the plan's chart. Raises DrillError."""
    release = Release.render(plan.values.setting(replicas=plan.replicas), name, namespace)
    deployment = release.deployment()
    apply_plan(plan, deployment)
    objects = tuple(
        o for o in release.objects if o in release.all(o["kind"]) and o["kind"] not in AUTOSCALERS
    )
    return Target(deployment, service_for(release.all("Service"), deployment), objects)


async def existing(api: Api, namespace: str, release: str) -> Target:
    """Find the Deployment of an installed release, by Helm's label or by its own name."""
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
            f"--release {release}: found {len(found)} Deployments of that release in "
            f"namespace {namespace}: name an installed release or a Deployment."
        )
    services = (await api.get(f"/api/v1/namespaces/{namespace}/services"))["items"]
    return Target(found[0], service_for(services, found[0]))


def apply_plan(plan: Plan, deployment: Manifest) -> None:
    """Apply the plan's replicas, patches and environment."""
    deployment["spec"]["replicas"] = plan.replicas
    for patch in plan.patches:
        patch(deployment)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    kept = [v for v in container.get("env") or () if v["name"] not in plan.environment]
    container["env"] = kept + [{"name": n, "value": v} for n, v in plan.environment.items()]


def service_for(services: Sequence[Manifest], deployment: Manifest) -> Manifest:
    """Return the Service that selects the Deployment's pods. Raises DrillError."""
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    for service in services:
        selector = (spec := service["spec"]).get("selector") or {}
        if selector and selector.items() <= labels and spec.get("clusterIP") != "None":
            return service
    raise DrillError(
        f"no Service with a cluster IP selects the pods of {deployment['metadata']['name']}: "
        "the load needs one."
    )


def cluster_ip(service: Manifest) -> str:
    """Return the IPv4 cluster IP of a Service."""
    spec = service["spec"]
    for found in spec.get("clusterIPs") or [spec.get("clusterIP") or ""]:
        if "." in found:
            return str(found)
    raise DrillError(f"Service {service['metadata']['name']} has no IPv4 address for the load.")


#: Maximum of writes that conflict with another, or whose answer is lost.
ATTEMPTS = 20


class Rollout:
    """Changes of the Deployment at ``path`` of the API."""

    def __init__(self, api: Api, path: str, tracker: Tracker) -> None:
        self._api = api
        self._path = path
        self._tracker = tracker
        #: The pod templates of all revisions, with the API's defaults.
        self._templates: list[Manifest] = []

    async def installed(self) -> None:
        """Take the current state as the first revision."""
        found = await self._api.get(self._path)
        self._tracker.see_deployment("ADDED", found)
        self._templates = [deepcopy(found["spec"]["template"])]

    async def update(self, patch: Patch) -> None:
        self._tracker.pods.next_revision()
        found = await self.replace(patch)
        self._templates.append(deepcopy(found["spec"]["template"]))

    async def roll_back(self) -> None:
        template = deepcopy(self._templates[-2])
        # The ReplicaSet of that template is reused.
        self._tracker.pods.next_revision(same_as=len(self._templates) - 1)
        await self.replace(lambda deployment: deployment["spec"].update(template=template))
        self._templates.append(template)

    async def scale(self, replicas: int) -> None:
        body = {"spec": {"replicas": replicas}}
        found = await self._api.repeat("PATCH", self._path, body=body, content=MERGE)
        self._tracker.see_deployment("MODIFIED", found)

    async def replace(self, change: Patch) -> Manifest:
        """Read, change and write the Deployment; retries on conflicts.

        A write whose answer was lost may have succeeded: it is not repeated then.
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
            raise DrillError(f"{self._path} is changed continuously by something else: stop it.")
        self._tracker.see_deployment("MODIFIED", found)
        return found

    @property
    def replicas(self) -> int:
        return int(self._tracker.deployment["spec"]["replicas"])

    def complete(self) -> bool:
        """Return whether it is complete, as for `kubectl rollout status`.

        Old pods may still be terminating.
        """
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
        """Return whether progressDeadlineSeconds has passed without progress."""
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
        """Wait until complete; ``deadline`` restarts with every pod that becomes ready.

        Raises DrillError when it has passed, or when ``hopeless`` returns true.
        """

        def decided() -> bool:
            return self.complete() or self.stuck() or (hopeless is not None and hopeless())

        within = deadline * (self.replicas + 1)
        await self._tracker.until(decided, within, "the rollout was not complete")
        if not self.complete():
            why, log = self._tracker.pods.problem()
            raise DrillError("the rollout makes no progress" + (f": {why}." if why else "."), log)

    def settled(self) -> bool:
        """Return whether it is complete, all pods are ready, and the endpoints match."""
        pods, table = self._tracker.pods, self._tracker.table
        return (
            self.complete()
            and pods.all_serve(self.replicas)
            and table.keys() == pods.present.keys()
            and all(endpoint.ready for endpoint in table.values())
        )


#: Time for the kubelet to act on a change.
KUBELET_SECONDS = 60.0


@dataclass(frozen=True)
class Scene:
    """One release under drill, with everything that acts on it."""

    api: Api
    name: str  # prefix of the objects that the drill creates
    namespace: str
    timeline: ClusterTimeline
    tracker: Tracker
    undo: Undo
    resources: Resources
    target: Target
    rollout: Rollout

    def path(self, kind: str, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/{kind}/{name}"

    @property
    def patience(self) -> float:
        """Seconds that one pod may take to stop and another to start."""
        workload = self.target.workload
        return workload.template.grace + workload.progress_deadline + KUBELET_SECONDS

    async def until(self, so: Callable[[], bool], otherwise: str) -> None:
        await self.tracker.until(so, self.patience, otherwise)


async def install(scene: Scene) -> None:
    """Install the chart without its tests and autoscalers; it is removed at the end."""
    await scene.resources.namespace(scene.name)
    await track(scene)
    present = scene.tracker.pods.present
    look = scene.resources.kubectl(f"get pods --selector {scene.target.selector}")
    gone = lambda: scene.until(lambda: not present, "pods still existed")  # noqa: E731
    scene.undo.add("waiting for the pods", look, gone)
    for each in scene.target.objects:
        await scene.resources.apply(each, scene.name)
    await scene.rollout.installed()


async def adopt(scene: Scene, plan: Plan) -> Scene:
    """Use an existing Deployment: apply the plan's changes, revert them at the end."""
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
    await scene.rollout.replace(lambda deployment: apply_plan(plan, deployment))
    await scene.rollout.installed()
    return replace(scene, target=replace(scene.target, deployment=scene.tracker.deployment))


async def track(scene: Scene) -> None:
    workload, service = scene.target.workload, scene.target.service["metadata"]["name"]
    container = workload.template.container["name"]
    await scene.tracker.start(workload.name, container, scene.target.selector, service)
