"""The ports of this process. Standard library only: one opens before other imports."""

import contextlib
import os
import resource
import socket
from typing import NamedTuple

#: More descriptors than a service needs; a higher limit slows programs that close all of them.
MOST_DESCRIPTORS = 65536
#: Connections that the kernel queues until they are accepted; the same as uvicorn.
BACKLOG = 2048


class StartError(Exception):
    """The service cannot start; the message is one sentence for its operator."""


class EarlyPort(NamedTuple):
    """A port that listens before anything accepts connections."""

    host: str
    port: int
    socket: socket.socket


def bind(host: str, port: int, setting: str) -> socket.socket:
    """Bind without listening; ``::`` means all IPv6 and IPv4 addresses.

    Raises StartError with a sentence that names ``setting`` if the port is taken.
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
    """Listen on the management port during the imports.

    Otherwise the first probes of each pod are refused, and the kubelet writes an
    ``Unhealthy`` event for each. Returns None on failure: the final ``bind``, after the
    settings are read, reports the reason.
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
    """The most open connections of each listener."""

    main: int
    management: int
    control: int


def share_descriptors() -> Descriptors:
    """Divide the file descriptors, so that one port cannot use up those of another.

    Raises the soft limit to the hard one, as Go programs do: it is low because of
    ``select``, which no event loop uses. A quarter of the free descriptors, at most
    1024, stays for the service's own files and connections.
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
