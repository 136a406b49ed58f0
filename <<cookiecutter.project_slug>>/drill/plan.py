"""The plan of a rehearsal: the service as it is, or the same service without its lifecycle."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from drill.chart import NAME, Patch, Values
from drill.load.routes import Routes


class ApiFault(StrEnum):
    """How the API server fails."""

    NONE = "none"
    #: The pods have no permission.
    FORBIDDEN = "forbidden"
    #: Nothing listens.
    DOWN = "down"
    #: Accepts connections and never answers.
    HANGS = "hangs"
    #: Answers the list, breaks the watch off, and is down from then on.
    DIES = "dies"
    #: Every resource version has expired.
    FORGETS = "forgets"
    #: Reports every endpoint as ready.
    LIES = "lies"


@dataclass(frozen=True)
class Plan:
    """What to rehearse. Times are in seconds."""

    values: Values = field(default_factory=Values)
    #: The name of the Helm release.
    release: str = NAME
    replicas: int = 3
    #: Requests a second, all kinds together.
    rate: float = 150.0
    #: Clients of each kind of stream.
    streams: int = 6
    #: Slow clients at a time, in the scenario ``slow-clients``.
    slow_clients: int = 1000
    #: More is sent than the pods can serve: 503 with Retry-After is no loss.
    overloads: bool = False
    #: Delay until clients see a change of the endpoints: minimum and maximum.
    propagation: tuple[float, float] = (2.0, 2.0)
    #: How the API server fails when pods watch their endpoints.
    api: ApiFault = ApiFault.NONE
    routes: Routes = field(default_factory=Routes)
    #: Environment variables of the containers; they override the chart's.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Applied to the Deployment before it is installed, in this order.
    patches: tuple[Patch, ...] = ()
    #: "service" is the chart as it is; others come from ``compared``.
    variant: str = "service"


#: The default of terminationGracePeriodSeconds in Kubernetes.
DEFAULT_GRACE_SECONDS = 30
SETTINGS_OF_THE_STOP = "APP_SHUTDOWN__"


def compared(plan: Plan, variant: str) -> Plan:
    """Return a plan that runs the routes on plain uvicorn, with probes on the main port.

    ``naive`` has no preStop hook; ``sleep-15`` has one that sleeps for 15 seconds.
    Raises ValueError for an unknown variant.
    """
    found = re.fullmatch(r"naive|sleep-([1-9]\d*)", variant)
    if found is None:
        raise ValueError(f"{variant!r} is neither naive nor sleep-SECONDS, as in sleep-15")
    patch = partial(_without_lifecycle, sleep=int(found[1] or 0))
    return replace(plan, patches=(*plan.patches, patch), variant=variant)


def _without_lifecycle(deployment: dict[str, Any], sleep: int) -> None:
    pod = deployment["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = DEFAULT_GRACE_SECONDS
    container = pod["containers"][0]
    container["command"] = ["python", "-c", _program()]
    container["args"] = []
    container.pop("lifecycle", None)
    if sleep:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": sleep}}}
    container["env"] = [
        variable
        for variable in container.get("env", ())
        if not variable["name"].startswith(SETTINGS_OF_THE_STOP)
    ]
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        if "httpGet" in container.get(name, {}):
            container[name]["httpGet"]["port"] = "http"


def _program() -> str:
    return Path(__file__).with_name("naive.py").read_text("utf-8")
