"""Which pod this is, and how it finds itself in the cluster.

The chart hands it over by way of the downward API. Nothing of it is known outside of
Kubernetes, and nothing of it is needed there.
"""

import os
from dataclasses import dataclass
from typing import NamedTuple

#: Tells who has answered: /readyz on the main port bears it.
POD_HEADER = b"x-pod-name"


@dataclass(frozen=True, slots=True)
class Identity:
    """What sets this pod apart; empty where it is not known."""

    pod: str = ""
    namespace: str = ""
    node: str = ""
    #: Kubernetes copies it from the node's labels since 1.35; the chart may set it before.
    zone: str = ""
    uid: str = ""
    addresses: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls) -> "Identity":
        """Read POD_NAME, POD_NAMESPACE, NODE_NAME, POD_ZONE, POD_UID and POD_IPS."""
        read = os.environ.get
        return cls(
            pod=read("POD_NAME", ""),
            namespace=read("POD_NAMESPACE", ""),
            node=read("NODE_NAME", ""),
            zone=read("POD_ZONE", ""),
            uid=read("POD_UID", ""),
            addresses=tuple(filter(None, read("POD_IPS", "").split(","))),
        )

    def fields(self) -> dict[str, str]:
        """What log lines and the report carry of it, as far as it is known."""
        fields = {
            "pod": self.pod,
            "namespace": self.namespace,
            "node": self.node,
            "zone": self.zone,
        }
        return {name: value for name, value in fields.items() if value}


class ServiceName(NamedTuple):
    """A Service that selects this pod; asked who answers at its address if it has a port."""

    name: str
    #: Empty for the name that the cluster's DNS has for it.
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> "ServiceName":
        """``web``, ``web:80`` or ``web=HOST:80``, with brackets around an IPv6 address."""
        name, given, address = text.partition("=")
        host, _, port = address.rpartition(":")
        if not given:
            name, _, port = text.partition(":")
        return cls(name, host.removeprefix("[").removesuffix("]"), int(port or 0))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where to ask about this pod's endpoint; the settings say what each field means."""

    services: tuple[ServiceName, ...] = ()
    api: str = ""
    credentials: str = ""
