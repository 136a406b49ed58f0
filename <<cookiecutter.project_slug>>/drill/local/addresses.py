"""Where pods listen.

Every pod gets an address of its own, as in a cluster, with the same ports on
each. Where the machine has 127.0.0.1 alone (macOS), pods get ports of their
own instead.
"""

import random
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from drill.errors import DrillError

#: Below the ports that systems give to clients, so that no client takes one in between.
PORTS = range(12_000, 30_000, 2)
#: 127.0.0.11 and on: what is below is in use on some machines (127.0.0.1, 127.0.0.2, 127.0.0.10).
HOSTS = [f"127.0.{n // 250}.{n % 250 + 1}" for n in range(10, 2_000)]
#: So many pods are to find the same ports free; more are found in most rehearsals.
CHECKED_HOSTS = 12


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod listens: the chart is rendered with these ports."""

    host: str
    port: int
    management_port: int


def places() -> Iterator[Place]:
    """Free places, each once, found when they are asked for. Raises DrillError at their end."""
    ports = random.sample(PORTS, len(PORTS))
    if is_free("127.0.0.2", 0):
        port = next((p for p in ports if _free_on_all(HOSTS[:CHECKED_HOSTS], p)), None)
        hosts = (host for host in HOSTS if port is not None and is_free(host, port, port + 1))
        yield from (Place(host, port, port + 1) for host in hosts if port is not None)
    else:
        free = (port for port in ports if is_free("127.0.0.1", port, port + 1))
        yield from (Place("127.0.0.1", port, port + 1) for port in free)
    raise DrillError(
        f"no free ports between {PORTS.start} and {PORTS.stop} for one more pod: "
        "stop what holds them."
    )


def is_free(host: str, *ports: int) -> bool:
    return all(_can_bind(host, port) for port in ports)


def _free_on_all(hosts: list[str], port: int) -> bool:
    return all(is_free(host, port, port + 1) for host in hosts)


def _can_bind(host: str, port: int) -> bool:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True
