"""Documents of the API: EndpointSlices, lists of them, and refusals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from drill.record import Endpoint

SERVICE_LABEL = "kubernetes.io/service-name"

Json = dict[str, Any]


@dataclass(frozen=True)
class Service:
    """What a slice says of the Service it belongs to."""

    name: str
    namespace: str

    @classmethod
    def read(cls, manifest: Json) -> Self:
        metadata = manifest["metadata"]
        return cls(metadata["name"], metadata.get("namespace", "default"))


def slice_of(service: Service, endpoints: Sequence[Json], version: int) -> Json:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {
            "name": f"{service.name}-local",
            "namespace": service.namespace,
            "labels": {SERVICE_LABEL: service.name},
            "resourceVersion": str(version),
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
    }


def slice_list(slices: Sequence[Json], version: int) -> Json:
    return {
        "kind": "EndpointSliceList",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"resourceVersion": str(version)},
        "items": list(slices),
    }


def bookmark(version: int) -> Json:
    return {"kind": "EndpointSlice", "metadata": {"resourceVersion": str(version)}}


def entry(endpoint: Endpoint, node: str) -> Json:
    return {
        "addresses": [endpoint.host],
        "conditions": {
            "ready": endpoint.ready,
            "serving": endpoint.serving,
            "terminating": endpoint.terminating,
        },
        "nodeName": node,
        "targetRef": {"kind": "Pod", "name": endpoint.pod},
    }


def status(code: int, reason: str) -> Json:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
    }


def names_in(selector: str) -> set[str] | None:
    """The Services that a selector names, by ``=`` or ``in``; None for all."""
    key, _, value = selector.partition("=" if "=" in selector else " in ")
    if key.strip() != SERVICE_LABEL:
        return None
    return {name.strip() for name in value.strip("=() ").split(",")}
