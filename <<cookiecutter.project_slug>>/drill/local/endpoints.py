"""[drill.local.endpoints] Which pods the clients see, and how late.
[drill.local.slices] Documents of the API: EndpointSlices, lists of them, and refusals.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from drill.record import Change, Endpoint


class EndpointTable:
    """The table of endpoints, as the API holds it and as the clients see it.

    A change is in the table at once and at the clients ``propagation`` seconds
    later, at least and at most: the time that a cluster takes to bring an
    EndpointSlice to every node and to rewrite its rules. A late change holds up
    those after it. Nothing tells a pod when that has happened, which is why it
    may not stop listening when it is told to stop.
    """

    def __init__(self, propagation: tuple[float, float], clock: Callable[[], float]) -> None:
        self.changes: list[Change] = []
        #: When the clients have seen the last change of which pods are ready.
        self.settled_at = 0.0
        self._propagation = propagation
        self._clock = clock
        self._current: dict[str, Endpoint] = {}
        self._seen: dict[str, Endpoint] = {}
        self._under_way: deque[tuple[float, Change]] = deque()
        self._last_seen_at = 0.0
        self._subscribers: list[Callable[[Change], None]] = []

    @property
    def current(self) -> Mapping[str, Endpoint]:
        """What the API says now, by the pods' names."""
        return self._current

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """``callback`` gets every change when it is made; the result ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def publish(self, endpoint: Endpoint) -> None:
        """Adds the endpoint or replaces its entry; the same again changes nothing."""
        if self._current.get(endpoint.pod) != endpoint:
            self._record(endpoint.pod, endpoint)

    def remove(self, pod: str) -> None:
        if pod in self._current:
            self._record(pod, None)

    def seen(self) -> list[Endpoint]:
        """The endpoints that a client may pick now.

        When none is ready, those that serve while they terminate are used
        (KEP-1669, ProxyTerminatingEndpoints), as kube-proxy does.
        """
        now = self._clock()
        while self._under_way and self._under_way[0][0] <= now:
            _, change = self._under_way.popleft()
            _apply(self._seen, change)
        endpoints = list(self._seen.values())
        return [e for e in endpoints if e.ready] or [e for e in endpoints if e.serving]

    def _record(self, pod: str, endpoint: Endpoint | None) -> None:
        now, before = self._clock(), self._current.get(pod)
        seen_at = max(self._last_seen_at, now + random.uniform(*self._propagation))
        self._last_seen_at = seen_at
        change = Change(now, seen_at, pod, endpoint)
        self.changes.append(change)
        self._under_way.append((seen_at, change))
        _apply(self._current, change)
        if (before is not None and before.ready) != (endpoint is not None and endpoint.ready):
            self.settled_at = seen_at
        for callback in list(self._subscribers):
            callback(change)


def _apply(endpoints: dict[str, Endpoint], change: Change) -> None:
    if change.endpoint is None:
        endpoints.pop(change.pod, None)
    else:
        endpoints[change.pod] = change.endpoint


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
