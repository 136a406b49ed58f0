"""[drill.plan] What is to be rehearsed.
[drill.compare] What the same service would be without its lifecycle.

``naive`` is plain uvicorn, ``sleep-15`` the same with a preStop hook that sleeps for 15 seconds.

"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from drill.chart import Patch, Values
from drill.load.routes import Routes


class ApiFault(StrEnum):
    """Ways in which an API server fails its clients."""

    NONE = "none"
    #: There is no permission.
    FORBIDDEN = "forbidden"
    #: Nobody listens.
    DOWN = "down"
    #: Takes connections and answers nothing.
    HANGS = "hangs"
    #: Lists well, and breaks off the watch, and is down from then on.
    DIES = "dies"
    #: Forgets every version at once.
    FORGETS = "forgets"
    #: Says that all endpoints are ready, whatever happens.
    LIES = "lies"


@dataclass(frozen=True)
class Plan:
    """Times in seconds."""

    values: Values = field(default_factory=Values)
    replicas: int = 3
    #: Requests a second, of all kinds together.
    rate: float = 150.0
    #: Clients of each kind of stream.
    streams: int = 6
    #: How late clients learn of a change of the endpoints, at least and at most.
    propagation: tuple[float, float] = (2.0, 2.0)
    #: What the pods' own watch of their endpoints meets.
    api: ApiFault = ApiFault.NONE
    routes: Routes = field(default_factory=Routes)
    #: Variables for the containers, over those of the chart.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: Applied to the Deployment before it is installed, in this order.
    patches: tuple[Patch, ...] = ()
    #: "service" is the chart as it is; see ``compare.py`` for others.
    variant: str = "service"


#: The grace period that Kubernetes gives to pods that ask for none.
DEFAULT_GRACE_SECONDS = 30
SETTINGS_OF_THE_STOP = "APP_SHUTDOWN__"


def compared(plan: Plan, variant: str) -> Plan:
    """The same chart around plain uvicorn: probes on the main port, no hook but a sleep.

    Raises ValueError for a variant that there is not.
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
