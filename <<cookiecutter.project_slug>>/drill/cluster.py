"""A stand-in for a cluster, made of local processes.

Every pod gets an address of its own, as in a cluster, with the same ports on
each. Where the machine has 127.0.0.1 alone (macOS), pods get ports of their
own instead.
"""

import asyncio
import random
import socket
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from drill.endpoints import EndpointTable
from drill.errors import DrillError
from drill.pods import Place, Pod, PodTemplate
from drill.processes import Processes
from drill.timeline import Timeline

#: Below the ports that systems give to clients, so that no client takes one in between.
PORTS = range(12_000, 30_000, 2)


class Cluster:
    """Creates and deletes pods and keeps their endpoints."""

    def __init__(
        self,
        template: PodTemplate,
        pods: int,
        folder: Path,
        table: EndpointTable,
        timeline: Timeline,
        processes: Processes,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.pods: dict[str, Pod] = {}
        self._template = template
        self._places = iter(find_places(pods))
        self._folder = folder
        self._table = table
        self._timeline = timeline
        self._processes = processes
        self._tasks = tasks

    def create(self, name: str) -> Pod:
        place = next(self._places)
        pod = Pod(name, place, self._template, self._folder, self._table, self._timeline)
        self.pods[name] = pod
        self._tasks.create_task(pod.run(self._processes), name=f"pod {name}")
        return pod

    def delete(self, pod: Pod) -> asyncio.Task[None]:
        """Begins the deletion; the task ends when the pod is gone."""
        return self._tasks.create_task(pod.delete(self._processes), name=f"deletion of {pod.name}")


def find_places(count: int) -> list[Place]:
    """Free addresses with a free pair of ports each."""
    if count <= 200 and is_free("127.0.0.2", 0):
        hosts = [f"127.0.0.{n}" for n in range(11, 11 + count)]
        for port in _shuffled_ports():
            if all(is_free(host, port, port + 1) for host in hosts):
                return [Place(host, port, port + 1) for host in hosts]
    else:
        ports = (p for p in _shuffled_ports() if is_free("127.0.0.1", p, p + 1))
        places = [Place("127.0.0.1", port, port + 1) for port in islice(ports, count)]
        if len(places) == count:
            return places
    raise DrillError(
        f"no free ports between {PORTS.start} and {PORTS.stop} for {count} pods: "
        "stop what holds them."
    )


def is_free(host: str, *ports: int) -> bool:
    return all(_can_bind(host, port) for port in ports)


def _can_bind(host: str, port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


def _shuffled_ports() -> Iterator[int]:
    yield from random.sample(PORTS, len(PORTS))
