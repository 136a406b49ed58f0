"""The chart's HTTPRoute, read as a gateway reads it."""

from dataclasses import replace

from drill.chart import Release, Values
from drill.errors import DrillError


def share(values: Values, canary: str, service: str, weight: int) -> float:
    """Return the share of the requests, 0 to 1, that the stable release's route gives ``service``.

    ``canary`` is the name of the other release and ``weight`` its percentage. Raises DrillError
    with Helm's message, or if the route leads elsewhere.
    """
    walk = (
        "ingress.enabled=false",
        "httpRoute.enabled=true",
        "httpRoute.parentRefs[0].name=gateway",
        f"canary.release={canary}",
        f"canary.weight={weight}",
    )
    route = Release.render(replace(values, settings=(*values.settings, *walk))).one("HTTPRoute")
    weights = {
        backend["name"]: int(backend.get("weight", 1))
        for backend in route["spec"]["rules"][0]["backendRefs"]
    }
    if service not in weights:
        raise DrillError(
            f"the route leads to {', '.join(weights)}, not to the canary's Service {service}: "
            "do not set fullnameOverride."
        )
    return weights[service] / sum(weights.values())
