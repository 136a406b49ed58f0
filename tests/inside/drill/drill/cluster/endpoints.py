"""The EndpointSlice of a Service, as the controller writes it."""

from tests.drill.cluster.podstate import is_ready
from tests.drill.cluster.store import Json


def slice_of(service: str, pods: list[Json]) -> Json:
    """The slice with these pods, which run."""
    return {
        "metadata": {
            "name": f"{service}-x",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in pods],
        "ports": [{"name": "http", "port": 8080}],
    }


def _endpoint(pod: Json) -> Json:
    leaving = "deletionTimestamp" in pod["metadata"]
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": is_ready(pod) and not leaving,
            "serving": is_ready(pod),
            "terminating": leaving,
        },
        "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"]},
    }
