"""This pod's own place in the EndpointSlices of its Services, as the API tells it.

A state machine: slices and changes of them go in, where the pod stands comes out. It
knows nothing of how they get here. The rules are those of the API's types:
https://github.com/kubernetes/api/blob/master/discovery/v1/types.go
"""

import enum
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from app.lifecycle.kubernetes.identity import Identity

Json = Mapping[str, Any]

SERVICE_LABEL = "kubernetes.io/service-name"


class Standing(enum.Enum):
    """Where this pod stands."""

    IN_ROTATION = "in rotation"
    WITHDRAWN = "withdrawn"
    #: Some Service has never had it. Whether it is the wrong Service or the pod was taken out
    #: long ago cannot be seen, so that proves nothing.
    UNKNOWN = "unknown"


class _Slice(NamedTuple):
    service: str
    own: bool | None  # whether this pod's entry is in rotation; None where it has none
    others: frozenset[str]  # in rotation, by name of pod or address


class OwnEndpoint:
    """Follows ``identity`` through the slices of ``services``.

    An endpoint is one of several: a Service has a slice for each kind of address and
    for each hundred pods, and while the controller moves an endpoint it is in two.
    """

    def __init__(self, identity: Identity, services: Collection[str]) -> None:
        self._identity = identity
        self._services = services
        self._slices: dict[str, _Slice] = {}
        self._seen: set[str] = set()
        self._most: dict[str, int] = {}

    def replace(self, slices: Iterable[Json]) -> None:
        """Take over a whole list; what is not in it is gone. An error changes nothing."""
        fresh = {_name(one): self._read(one) for one in slices}
        self._slices = {name: one for name, one in fresh.items() if one.service in self._services}
        self._note()

    def apply(self, kind: str, changed: Json) -> None:
        """Take over an ADDED, MODIFIED or DELETED slice."""
        read = self._read(changed)
        if kind == "DELETED" or read.service not in self._services:
            self._slices.pop(_name(changed), None)
        else:
            self._slices[_name(changed)] = read
        self._note()

    def standing(self) -> Standing:
        if any(one.own for one in self._slices.values()):
            return Standing.IN_ROTATION
        return Standing.UNKNOWN if self.unseen() else Standing.WITHDRAWN

    def unseen(self) -> list[str]:
        """Services in which this pod has never been seen."""
        return [name for name in self._services if name not in self._seen]

    def pods(self, service: str) -> int:
        """The most pods between which connections to ``service`` were spread; this one counts."""
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
        """By the pod it refers to; by address where it refers to none or our name is not known.

        Not by both: pods in the host's network share an address.
        """
        identity, target = self._identity, endpoint.get("targetRef")
        if target is None or not identity.pod:
            return not set(identity.addresses).isdisjoint(endpoint["addresses"])
        if (target.get("kind"), target.get("name")) != ("Pod", identity.pod):
            return False
        # A StatefulSet gives the name to the next pod.
        return not (identity.uid and target.get("uid")) or target["uid"] == identity.uid


def _rotates(conditions: Json) -> bool:
    """Whether new connections are sent there.

    What is not said counts as ready and as not terminating. An endpoint can be both: for a
    Service that publishes addresses that are not ready. It stays so until the pod is gone,
    so that there is nothing to wait for.
    """
    return conditions.get("ready") is not False and conditions.get("terminating") is not True


def _name(one: Json) -> str:
    name: str = one["metadata"]["name"]
    return name


def _key(endpoint: Json) -> str:
    target = endpoint.get("targetRef") or {}
    key: str = target.get("name") or endpoint["addresses"][0]
    return key
