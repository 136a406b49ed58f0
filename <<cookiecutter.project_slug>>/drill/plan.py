"""What is to be rehearsed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from drill.backend import Patch
from drill.chart.release import Values
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
