"""The settings of the lifecycle, and what settings are made of: times, ports, texts of a form."""

import ipaddress
import os
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Period = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]

# Not ``Field(pattern=...)``: its engine costs each process half a megabyte.
_SERVICE = r"[a-z0-9][-a-z0-9]*((=(\[[0-9a-fA-F:.]+\]|[-a-zA-Z0-9.]+))?:[0-9]{1,5})?"
_FORWARDED = "(for|proto|host|prefix)"


def matches(pattern: str, example: str) -> AfterValidator:
    """A text that is empty or matches ``pattern``, like ``example``."""

    def check(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise PydanticCustomError("form", "{rule}", {"rule": f"should be like {example}"})
        return value

    return AfterValidator(check)


def listed(text: str) -> list[str]:
    """Split at commas, without spaces."""
    return [one for part in text.split(",") if (one := part.strip())]


def networks(text: str) -> str:
    """Require a list of addresses and CIDRs; the message names a wrong one."""
    for one in listed(text):
        try:
            ipaddress.ip_network(one)
        except ValueError as error:
            rule = "should be addresses or CIDRs with commas between, like 10.0.0.0/8,fd00::/8"
            raise PydanticCustomError(
                "network", "{error}; {rule}", {"error": str(error), "rule": rule}
            ) from None
    return text


def in_kubernetes() -> bool:
    """Whether the kubelet started this process; it sets this variable in every container."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


class Group(BaseModel):
    """A group of settings; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shutdown(Group):
    """The times of a stop, in seconds."""

    floor_seconds: Seconds = Field(
        default=0.0,
        description="Least time to keep serving after readiness fails, for routers that are always "
        "late.",
    )
    fallback_seconds: Seconds = Field(
        default_factory=lambda: 5.0 if in_kubernetes() else 0.0,
        description="Time to keep serving if the pod's endpoint cannot be watched. 5 in "
        "Kubernetes, else 0.",
    )
    slack_seconds: Seconds = Field(
        default=2.0,
        description="Time to keep serving after the pod's endpoint was withdrawn and the pod last "
        "reached itself at its Service's address, for nodes that apply that later.",
    )
    quiet_seconds: Seconds = Field(
        default=1.0,
        description="Time without a new request after which no more are expected: a router that "
        "still sends does not know of the stop.",
    )
    limit_seconds: Seconds = Field(
        default=18.0, description="Longest drain; then requests in flight are cut off."
    )
    stream_spread_seconds: Seconds = Field(
        default=3.0,
        description="Time over which SSE and WebSocket clients are told to reconnect, so that they "
        "do not all reconnect at once.",
    )
    stop_seconds: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Budget to end tasks and components after the listener is closed. Unset: 5, "
        "and what components with a budget of their own may need one after the other.",
    )
    grace_seconds: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="Time from the request to stop to SIGKILL (terminationGracePeriodSeconds). The "
        "watchdog ends the process one second earlier. Must exceed limit, stream spread, 2 s for "
        "the last goodbye, stop and that second. Unset, it grows with STOP outside Kubernetes.",
    )

    @model_validator(mode="after")
    def _limit_above_floor(self) -> "Shutdown":
        least = {"FLOOR": self.floor_seconds, "FALLBACK": self.fallback_seconds}
        for name, seconds in least.items():
            if self.limit_seconds < seconds:
                raise ValueError(
                    f"LIMIT_SECONDS={self.limit_seconds:g} is below "
                    f"APP_SHUTDOWN__{name}_SECONDS={seconds:g}: raise the one or lower the other"
                )
        return self


class Kubernetes(Group):
    """How the pod watches its endpoint during a drain."""

    services: Annotated[
        str, matches(rf"{_SERVICE}( *, *{_SERVICE})*", "web:80 or web,web-internal")
    ] = Field(
        default="",
        description="Services that select this pod, comma-separated; their EndpointSlices are "
        "watched. With a port (web:80), the pod also checks which pods answer at "
        "NAME.NAMESPACE.svc, or at a given address (web=10.0.0.7:80). Empty: not watched.",
    )
    api: Annotated[str, matches(r"https?://\S+", "https://10.96.0.1:443")] = Field(
        default="",
        description="Address of the API server; empty: the one that Kubernetes gives the pod. No "
        "token is sent over http, as to `kubectl proxy`.",
    )
    credentials: str = Field(
        default="/var/run/secrets/kubernetes.io/serviceaccount",
        min_length=1,
        description="Folder with token and ca.crt of the service account.",
    )


class Proxy(Group):
    """What is in front of the service, and what it is believed."""

    trusted: Annotated[str, AfterValidator(networks)] = Field(
        default="",
        description="Addresses and CIDRs of proxies whose X-Forwarded-* headers are trusted, "
        "comma-separated. Empty: none. Clients that connect directly from such an address can "
        "claim any identity.",
    )
    headers: Annotated[
        str, matches(rf"{_FORWARDED}( *, *{_FORWARDED})*", "for,proto,host,prefix or some of them")
    ] = Field(
        default="for,proto",
        description="Which of X-Forwarded-For, -Proto, -Host and -Prefix are read. Only list "
        "headers that the proxies set, never one that they pass on from the client.",
    )
    root_path: Annotated[str, matches(r"(/[-a-zA-Z0-9._~]+)+", "/api")] = Field(
        default="",
        description="Path under which clients reach the service, such as /api, whether or not the "
        "proxy strips it. It is part of redirects, absolute URLs and /docs. X-Forwarded-Prefix "
        "overrides it.",
    )
    idle_seconds: float = Field(
        default=0.0,
        ge=0,
        le=7200,
        allow_inf_nan=False,
        description="Time for which the proxy keeps idle connections. The service must keep them "
        "longer, or requests fail that are sent on one it closes. 0: not known.",
    )


#% if cookiecutter.leader_election == "yes"
class LeaderElection(Group):
    """The Lease: the pod that holds it runs the singletons."""

    lease: Annotated[str, matches(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "web")] = Field(
        default="<< cookiecutter.project_slug >>",
        min_length=1,
        description="Name of the Lease, in the pod's namespace.",
    )
    lease_seconds: int = Field(
        default=15,
        ge=1,
        le=3600,
        description="Time after the last renewal until another pod may lead.",
    )
    renew_seconds: Period = Field(
        default=10.0,
        description="Time without a renewal after which a leader gives up and cancels its "
        "singletons; they may clean up until the lease expires.",
    )
    retry_seconds: Period = Field(
        default=2.0,
        description="Time between two renewals or attempts, plus up to a fifth.",
    )
    finish_seconds: Seconds = Field(
        default=1.0,
        description="Time that a running singleton gets to finish at a stop before it is cancelled "
        "and the lease released.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "LeaderElection":
        if self.lease_seconds <= self.renew_seconds:
            raise ValueError(
                f"LEASE_SECONDS={self.lease_seconds:g} is not above "
                f"APP_LEADER_ELECTION__RENEW_SECONDS={self.renew_seconds:g}: "
                "the time between the two is for singletons to clean up"
            )
        if self.renew_seconds <= 1.2 * self.retry_seconds:
            raise ValueError(
                f"RENEW_SECONDS={self.renew_seconds:g} is not above 1.2 times "
                f"APP_LEADER_ELECTION__RETRY_SECONDS={self.retry_seconds:g}: "
                "a leader must have time for a second attempt"
            )
        return self


#% endif
class Probes(Group):
    """When probes fail."""

    stall_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="Blocked event loop after which /livez fails."
    )
    unready_seconds: float = Field(
        default=2.0, gt=0, le=3600, description="Blocked event loop after which /readyz fails."
    )
    main_port: bool = Field(
        default=True,
        description="Also serve /livez and /readyz on APP_PORT, for load balancers and to check "
        "which pods answer at the Service's address.",
    )
