"""The ports of this process. Standard library only: one of them opens before all else."""

import contextlib
import os
import resource
import socket
from typing import NamedTuple

#: More descriptors than a service uses; programs that close all up to the limit take long.
MOST_DESCRIPTORS = 65536
#: Connections that wait in the kernel until they are accepted: as many as uvicorn's.
BACKLOG = 2048


class StartError(Exception):
    """The service cannot start; the message is one sentence for whoever operates it."""


class EarlyPort(NamedTuple):
    """A port that listens, although nobody accepts yet."""

    host: str
    port: int
    socket: socket.socket


def bind(host: str, port: int, setting: str) -> socket.socket:
    """Bind, but do not listen yet; ``::`` means all addresses, IPv6 and IPv4.

    Raises StartError with a sentence that names ``setting`` when the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if host == "::" and not socket.has_dualstack_ipv6():
        host, family = "0.0.0.0", socket.AF_INET  # noqa: S104
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if host == "::" else 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise StartError(
            f"{host} port {port} cannot be bound ({error.strerror}): "
            f"free the port or set {setting} to another one"
        ) from None
    return sock


def listen_early() -> EarlyPort | None:
    """Let the management port of the environment listen while the rest is imported.

    Otherwise the first probes of each pod are refused, and the kubelet writes an
    ``Unhealthy`` event for each. None when that fails: whoever opens the port for
    good says why, after the settings have been read.
    """
    host = os.environ.get("APP_HOST") or "::"
    port = os.environ.get("APP_MANAGEMENT_PORT") or "8081"
    try:
        number = int(port)
        sock = bind(host, number, "APP_MANAGEMENT_PORT")
        sock.listen(BACKLOG)
    except (StartError, OSError, ValueError, OverflowError):
        return None
    return EarlyPort(host, number, sock)


class Descriptors(NamedTuple):
    """How many connections each listener may have open."""

    main: int
    management: int
    control: int


def share_descriptors() -> Descriptors:
    """Divide the file descriptors, so that connections to one port never use up another's.

    The soft limit becomes the hard one, as in every Go program: it is low for the
    sake of ``select``, which no event loop uses. A quarter of what is free, at most
    1024, is left for the service's own files and connections.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    free = max(8, (MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) - _open())
    management, control = min(64, free // 4), min(16, free // 8)
    own = min(1024, free // 4)
    return Descriptors(free - management - control - own, management, control)


def _open() -> int:
    """How many descriptors this process has open."""
    with contextlib.suppress(OSError):
        return sum(1 for _ in os.scandir("/dev/fd"))
    return 16
