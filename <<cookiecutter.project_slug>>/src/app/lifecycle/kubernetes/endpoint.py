"""This pod's endpoint in the EndpointSlices of its Services.

A state machine: slices and changes go in, the state of the endpoint comes out. The rules
are those of the API's types:
https://github.com/kubernetes/api/blob/master/discovery/v1/types.go
"""

import enum
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from app.lifecycle.kubernetes.identity import Identity

Json = Mapping[str, Any]

SERVICE_LABEL = "kubernetes.io/service-name"


class EndpointState(enum.Enum):
    """The state of this pod's endpoint."""

    IN_ROTATION = "in rotation"
    WITHDRAWN = "withdrawn"
    #: A Service has never had it: a wrong Service, or withdrawn long ago. No evidence.
    UNKNOWN = "unknown"


class _Slice(NamedTuple):
    service: str
    own: bool | None  # whether this pod is in rotation; None if it is not in the slice
    others: frozenset[str]  # pods in rotation, by name or address


class OwnEndpoint:
    """Follows ``identity`` through the slices of ``services``.

    A Service has a slice for each address family and each hundred pods, and while the
    controller moves an endpoint, it is in two slices.
    """

    def __init__(self, identity: Identity, services: Collection[str]) -> None:
        self._identity = identity
        self._services = services
        self._slices: dict[str, _Slice] = {}
        self._seen: set[str] = set()
        self._most: dict[str, int] = {}

    def replace(self, slices: Iterable[Json]) -> None:
        """Replace all slices. An error changes nothing."""
        fresh = {_name(one): self._read(one) for one in slices}
        self._slices = {name: one for name, one in fresh.items() if one.service in self._services}
        self._note()

    def apply(self, kind: str, changed: Json) -> None:
        """Apply an ADDED, MODIFIED or DELETED slice."""
        read = self._read(changed)
        if kind == "DELETED" or read.service not in self._services:
            self._slices.pop(_name(changed), None)
        else:
            self._slices[_name(changed)] = read
        self._note()

    def state(self) -> EndpointState:
        if any(one.own for one in self._slices.values()):
            return EndpointState.IN_ROTATION
        return EndpointState.UNKNOWN if self.unseen() else EndpointState.WITHDRAWN

    def unseen(self) -> list[str]:
        """Services that never had this pod."""
        return [name for name in self._services if name not in self._seen]

    def pods(self, service: str) -> int:
        """The most pods in rotation seen for ``service``, including this one."""
        return self._most.get(service, 0) + 1

    def _note(self) -> None:
        others: dict[str, set[str]] = {}
        for one in self._slices.values():
            others.setdefault(one.service, set()).update(one.others)
            if one.own is not None:
                self._seen.add(one.service)
        for service, names in others.items():
            self._most[service] = max(self._most.get(service, 0), len(names))

    def _read(self, one: Json) -> _Slice:
        own: bool | None = None
        others: set[str] = set()
        for endpoint in one.get("endpoints") or ():
            rotates = _rotates(endpoint.get("conditions") or {})
            if self._is_own(endpoint):
                own = rotates or bool(own)
            elif rotates:
                others.add(_key(endpoint))
        service = (one["metadata"].get("labels") or {}).get(SERVICE_LABEL, "")
        return _Slice(service, own, frozenset(others))

    def _is_own(self, endpoint: Json) -> bool:
        """Compare the pod; or the address, if the endpoint has no pod or our name is unknown.

        Never both, because pods in the host's network share an address.
        """
        identity, target = self._identity, endpoint.get("targetRef")
        if target is None or not identity.pod:
            return not set(identity.addresses).isdisjoint(endpoint["addresses"])
        if (target.get("kind"), target.get("name")) != ("Pod", identity.pod):
            return False
        # A StatefulSet reuses the name for the next pod.
        return not (identity.uid and target.get("uid")) or target["uid"] == identity.uid


def _rotates(conditions: Json) -> bool:
    """Whether new connections are sent there.

    A missing condition counts as ready and not terminating. With publishNotReadyAddresses
    an endpoint is both ready and terminating until the pod is gone: nothing to wait for.
    """
    return conditions.get("ready") is not False and conditions.get("terminating") is not True


def _name(one: Json) -> str:
    name: str = one["metadata"]["name"]
    return name


def _key(endpoint: Json) -> str:
    target = endpoint.get("targetRef") or {}
    key: str = target.get("name") or endpoint["addresses"][0]
    return key
