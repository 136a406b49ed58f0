"""Which pods the clients see, and how late."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod's entry in the table, with the conditions of an EndpointSlice."""

    pod: str
    host: str
    port: int
    #: The pod is ready by its probe.
    serving: bool = False
    #: The pod has been deleted and may still be draining.
    terminating: bool = False

    @property
    def ready(self) -> bool:
        return self.serving and not self.terminating


@dataclass(frozen=True, slots=True)
class Change:
    """One write to the table: ``endpoint`` is the new entry, None when it was removed."""

    at: float
    seen_at: float
    pod: str
    endpoint: Endpoint | None


class EndpointTable:
    """The table of endpoints, as the API holds it and as the clients see it.

    A change is in the table at once and at the clients ``propagation`` seconds
    later: the time that a cluster takes to bring an EndpointSlice to every
    node and to rewrite its rules. Nothing tells a pod when that has happened,
    which is why it may not stop listening when it is told to stop.
    """

    def __init__(self, propagation: float, clock: Callable[[], float]) -> None:
        self.propagation = propagation
        self.changes: list[Change] = []
        #: When the clients have seen the last change of which pods are ready.
        self.settled_at = 0.0
        self._clock = clock
        self._current: dict[str, Endpoint] = {}
        self._seen: dict[str, Endpoint] = {}
        self._applied = 0

    def publish(self, endpoint: Endpoint) -> None:
        """Adds the endpoint or replaces its entry; the same again changes nothing."""
        if self._current.get(endpoint.pod) != endpoint:
            self._record(endpoint.pod, endpoint)

    def remove(self, pod: str) -> None:
        if pod in self._current:
            self._record(pod, None)

    def current(self, pod: str) -> Endpoint | None:
        return self._current.get(pod)

    def seen(self) -> list[Endpoint]:
        """The endpoints that a client may pick now.

        When none is ready, those that serve while they terminate are used, as
        kube-proxy does.
        """
        now = self._clock()
        while self._applied < len(self.changes) and self.changes[self._applied].seen_at <= now:
            change = self.changes[self._applied]
            _apply(self._seen, change)
            self._applied += 1
        endpoints = list(self._seen.values())
        return [e for e in endpoints if e.ready] or [e for e in endpoints if e.serving]

    def _record(self, pod: str, endpoint: Endpoint | None) -> None:
        now, before = self._clock(), self._current.get(pod)
        change = Change(now, now + self.propagation, pod, endpoint)
        self.changes.append(change)
        _apply(self._current, change)
        if (before is not None and before.ready) != (endpoint is not None and endpoint.ready):
            self.settled_at = change.seen_at


def _apply(endpoints: dict[str, Endpoint], change: Change) -> None:
    if change.endpoint is None:
        endpoints.pop(change.pod, None)
    else:
        endpoints[change.pod] = change.endpoint
