"""The ports of this process. Standard library only: one of them opens before all else."""

import os
import socket
from typing import NamedTuple

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
