"""Which pod this is. The chart passes it by the downward API; elsewhere it is empty."""

import os
from dataclasses import dataclass
from typing import NamedTuple

#: Header of /readyz on the main port: the pod that answered.
POD_HEADER = b"x-pod-name"


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of this pod; empty where unknown."""

    pod: str = ""
    namespace: str = ""
    node: str = ""
    #: Kubernetes copies it from the node's labels since 1.35.
    zone: str = ""
    uid: str = ""
    addresses: tuple[str, ...] = ()
    #: The image as the chart names it.
    image: str = ""

    @classmethod
    def from_environment(cls) -> "Identity":
        """Read POD_NAME, POD_NAMESPACE, NODE_NAME, POD_ZONE, POD_UID, POD_IPS and POD_IMAGE."""
        read = os.environ.get
        return cls(
            pod=read("POD_NAME", ""),
            namespace=read("POD_NAMESPACE", ""),
            node=read("NODE_NAME", ""),
            zone=read("POD_ZONE", ""),
            uid=read("POD_UID", ""),
            addresses=tuple(filter(None, read("POD_IPS", "").split(","))),
            image=read("POD_IMAGE", ""),
        )

    def fields(self) -> dict[str, str]:
        """The known fields for log lines and the report."""
        fields = {
            "pod": self.pod,
            "namespace": self.namespace,
            "node": self.node,
            "zone": self.zone,
        }
        return {name: value for name, value in fields.items() if value}


class ServiceName(NamedTuple):
    """A Service that selects this pod; with a port, its address is checked too."""

    name: str
    #: Empty for its name in the cluster's DNS.
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> "ServiceName":
        """Parse ``web``, ``web:80`` or ``web=HOST:80``, with brackets around an IPv6 address."""
        name, given, address = text.partition("=")
        host, _, port = address.rpartition(":")
        if not given:
            name, _, port = text.partition(":")
        return cls(name, host.removeprefix("[").removesuffix("]"), int(port or 0))


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where to watch this pod's endpoint; the settings describe each field."""

    services: tuple[ServiceName, ...] = ()
    api: str = ""
    credentials: str = ""
