"""Pods of small programs, without a chart."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drill.chart import Release, Workload
from drill.local.containers import Container, Rendered
from drill.local.endpoints import EndpointTable
from drill.local.kubelet import Pod
from drill.local.machine import Processes
from drill.record import PodRecord, Timeline

#: Ends at SIGTERM, and says so.
OBEDIENT = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
while True: time.sleep(60)
"""
STUBBORN = OBEDIENT.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN")

EXIT_0 = {"exec": {"command": [sys.executable, "-c", "pass"]}}
EXIT_1 = {"exec": {"command": [sys.executable, "-c", "exit(1)"]}}


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def rendered(program: str = OBEDIENT, grace: float = 5.0, **container: Any) -> Rendered:
    """A Deployment of one program; ``container`` is more of its container."""
    spec = {
        "containers": [{"command": python(program), **container}],
        "terminationGracePeriodSeconds": grace,
        "serviceAccountName": "web-account",
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "prod"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    }
    return Rendered(Release((deployment,)), deployment, Workload.read(deployment))


def record_in(folder: Path, name: str = "a1", node: str = "node-1") -> PodRecord:
    return PodRecord(name, 1, node, "127.0.0.1", folder / f"{name}.log")


class World:
    """One pod, the table of endpoints, and what happened."""

    def __init__(self, folder: Path) -> None:
        self.timeline = Timeline()
        self.table = EndpointTable((0.0, 0.0), self.timeline.now)
        self.record = record_in(folder)
        self.pod = Pod(self.record, self.table, self.timeline, lambda: None)
        self.folder = folder

    async def run(self, manifest: Rendered, act: Callable[["World"], Any]) -> None:
        """Runs the pod, lets ``act`` happen, then deletes the pod if that has not been done."""
        async with Processes() as processes, asyncio.TaskGroup() as tasks:

            async def make() -> tuple[Container, int]:
                volumes = self.folder / "volumes"
                return Container(manifest, self.record, volumes, processes, {}), 80

            tasks.create_task(self.pod.run(make))
            await act(self)
            self.pod.delete()
            await self.pod.gone.wait()

    @property
    def events(self) -> list[str]:
        return [event.what for event in self.timeline.events]

    def count(self, what: str) -> int:
        return self.events.count(what)

    async def up(self, times: int = 1) -> None:
        """Returns when the program has started so many times, handlers and all."""
        log = self.record.log
        await eventually(lambda: log.exists() and log.read_text().count("up\n") >= times)


async def eventually(condition: Callable[[], object], within: float = 40.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "not so in time"
        await asyncio.sleep(0.01)


#: A readiness probe looks whether this file is there.
READY = "/run/app/ready"
RUN: dict[str, Any] = {"volumeMounts": [{"name": "run", "mountPath": "/run/app"}]}
UP = 'print("up", flush=True)'


def exists(path: str) -> dict[str, Any]:
    return {"exec": {"command": ["test", "-e", path]}, "periodSeconds": 0.05}


def hook(program: str) -> dict[str, Any]:
    return {"lifecycle": {"preStop": {"exec": {"command": python(program)}}}}


def sleeping(seconds: float) -> dict[str, Any]:
    return {"lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}}


async def deleted(folder: Path, program: str, **manifest: Any) -> World:
    """What became of a pod that was deleted when it was up."""
    world = World(folder)
    await world.run(rendered(program, **manifest), lambda world: world.up())
    return world


def volume(world: World, name: str) -> Path:
    return world.folder / "volumes" / "run" / name


async def ready(world: World) -> None:
    """Up, and ready by a probe that looks for a file."""
    await world.up()
    volume(world, "ready").touch()
    await eventually(lambda: world.pod.ready_since)
