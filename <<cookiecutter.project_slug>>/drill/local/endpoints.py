"""Endpoints: the table that clients use, and the API's documents about it."""

import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from drill.record import Change, Endpoint


class EndpointTable:
    """The endpoints, as the API holds them and as the clients see them.

    Clients see a change ``propagation`` seconds later (minimum and maximum): the
    time in which a cluster brings an EndpointSlice to every node and rewrites its
    rules. A late change delays those after it. Nothing tells a pod when clients
    have seen a change, so it must not stop listening when it is told to stop.
    """

    def __init__(self, propagation: tuple[float, float], clock: Callable[[], float]) -> None:
        self.changes: list[Change] = []
        #: When clients have seen the last change of the ready pods.
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
        """The API's current endpoints, by pod name."""
        return self._current

    def subscribe(self, callback: Callable[[Change], None]) -> Callable[[], None]:
        """Call ``callback`` with every change; return a function that unsubscribes."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    def publish(self, endpoint: Endpoint) -> None:
        """Add or replace an endpoint; an equal one changes nothing."""
        if self._current.get(endpoint.pod) != endpoint:
            self._record(endpoint.pod, endpoint)

    def remove(self, pod: str) -> None:
        if pod in self._current:
            self._record(pod, None)

    def seen(self) -> list[Endpoint]:
        """Return the endpoints that a client may pick now.

        If none is ready, terminating ones that still serve are used, as kube-proxy
        does (KEP-1669, ProxyTerminatingEndpoints).
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
    """The Service that a slice belongs to."""

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
    """Return the Services that a selector names by ``=`` or ``in``; None for all."""
    key, _, value = selector.partition("=" if "=" in selector else " in ")
    if key.strip() != SERVICE_LABEL:
        return None
    return {name.strip() for name in value.strip("=() ").split(",")}
