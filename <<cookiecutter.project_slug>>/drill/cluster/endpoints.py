"""EndpointSlices as the table that clients are served from.

https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoint-slice-v1/
"""

from collections.abc import Iterable

from drill.backend import Manifest
from drill.record import Change, Endpoint


def table(slices: Iterable[Manifest]) -> dict[str, Endpoint]:
    """The pods of all slices of a Service. A pod that moves between slices may be in two."""
    found: dict[str, Endpoint] = {}
    for each in slices:
        if each.get("addressType") != "IPv4":
            continue
        ports = each.get("ports") or [{}]
        for entry in each.get("endpoints") or []:
            target, conditions = entry.get("targetRef") or {}, entry.get("conditions") or {}
            # Where nothing is said: ready is true, serving is as ready, terminating is false.
            ready = conditions.get("ready") is not False
            serving = conditions.get("serving")
            found[target.get("name", "")] = Endpoint(
                pod=target.get("name", ""),
                host=entry["addresses"][0],
                port=int(ports[0].get("port") or 0),
                serving=ready if serving is None else serving,
                terminating=bool(conditions.get("terminating")),
            )
    return found


def changes(at: float, old: dict[str, Endpoint], new: dict[str, Endpoint]) -> list[Change]:
    """Nobody can tell when the nodes apply them: ``seen_at`` is None."""
    gone = [Change(at, None, pod, None) for pod in old if pod not in new]
    return gone + [Change(at, None, pod, new[pod]) for pod in new if old.get(pod) != new[pod]]
