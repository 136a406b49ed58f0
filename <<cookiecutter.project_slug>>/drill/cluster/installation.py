"""A release for a rehearsal: installed, or one that is there, and left as it was."""

from copy import deepcopy
from dataclasses import replace

from drill.backend import Manifest
from drill.cluster import target
from drill.cluster.scene import Scene
from drill.plan import Plan


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
    await scene.rollout.replace(lambda deployment: target.change(plan, deployment))
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
