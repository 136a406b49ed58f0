"""Every knob of the service, typed, read from ``APP_*`` variables.

Nested settings are joined with two underscores: ``APP_SHUTDOWN__FLOOR_SECONDS``.
"""

import ipaddress
import os
import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "APP_"

Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]

# Not ``Field(pattern=...)``: the engine behind it costs every process half a megabyte.
_SERVICE = r"[a-z0-9][-a-z0-9]*((=(\[[0-9a-fA-F:.]+\]|[-a-zA-Z0-9.]+))?:[0-9]{1,5})?"
_FORWARDED = "(for|proto|host|prefix)"


def _matches(pattern: str, example: str) -> AfterValidator:
    """A text that is empty or matches ``pattern``, such as ``example``."""

    def check(value: str) -> str:
        if value and not re.fullmatch(pattern, value):
            raise PydanticCustomError("form", "{rule}", {"rule": f"should be like {example}"})
        return value

    return AfterValidator(check)


def listed(text: str) -> list[str]:
    """What stands between commas, without spaces."""
    return [one for part in text.split(",") if (one := part.strip())]


def _networks(text: str) -> str:
    """Refuse what is not a list of addresses and CIDRs; the message names the wrong one."""
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
    """Whether the kubelet started this process: it sets this variable in every container."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


class Group(BaseModel):
    """Settings that belong together; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shutdown(Group):
    """How long a stop waits for what, in seconds."""

    floor_seconds: Seconds = Field(
        default=0.0,
        description="Least time to go on serving after readiness went false: for routers that "
        "are sure to be late, whatever the endpoint says.",
    )
    fallback_seconds: Seconds = Field(
        default_factory=lambda: 5.0 if in_kubernetes() else 0.0,
        description="Time to go on serving where the pod's endpoint cannot be watched, in place of "
        "the wait for it. 5 in Kubernetes, else 0.",
    )
    slack_seconds: Seconds = Field(
        default=2.0,
        description="Time to go on serving after the pod's endpoint was seen withdrawn, and "
        "after the pod last answered to itself at its Service's address: for nodes that "
        "apply it later than the API and this node.",
    )
    quiet_seconds: Seconds = Field(
        default=1.0,
        description="Time without a new request that counts as the end of arrivals: whoever "
        "still sends has not heard of the stop.",
    )
    limit_seconds: Seconds = Field(
        default=18.0, description="Longest drain; requests still in flight then are cut off."
    )
    stream_spread_seconds: Seconds = Field(
        default=3.0,
        description="Time over which SSE and WebSocket clients are told to reconnect, so that "
        "they do not all do so at once.",
    )
    stop_seconds: Seconds = Field(
        default=5.0,
        description="Budget for tasks and components to end once the listener is closed.",
    )
    grace_seconds: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="Time between the request to stop and SIGKILL "
        "(terminationGracePeriodSeconds); the watchdog ends the process one second before. "
        "Must hold limit, stream spread, 2 s for the last goodbye, stop and that second.",
    )

    @model_validator(mode="after")
    def _limit_above_what_it_limits(self) -> "Shutdown":
        least = {"FLOOR": self.floor_seconds, "FALLBACK": self.fallback_seconds}
        for name, seconds in least.items():
            if self.limit_seconds < seconds:
                raise ValueError(
                    f"LIMIT_SECONDS={self.limit_seconds:g} is below "
                    f"APP_SHUTDOWN__{name}_SECONDS={seconds:g}: raise the one or lower the other"
                )
        return self


class Kubernetes(Group):
    """Where the pod asks, while it drains, whether connections are still sent to it."""

    services: Annotated[
        str, _matches(rf"{_SERVICE}( *, *{_SERVICE})*", "web:80 or web,web-internal")
    ] = Field(
        default="",
        description="Services that select this pod, with commas between: their EndpointSlices "
        "are watched. One with a port, as in web:80, is asked too who answers at its address, "
        "NAME.NAMESPACE.svc or, as in web=10.0.0.7:80, the one given. Empty: nothing is "
        "watched.",
    )
    api: Annotated[str, _matches(r"https?://\S+", "https://10.96.0.1:443")] = Field(
        default="",
        description="Address of the API; empty: the one that Kubernetes tells the pod. Over "
        "http, as to `kubectl proxy`, no token is sent.",
    )
    credentials: str = Field(
        default="/var/run/secrets/kubernetes.io/serviceaccount",
        min_length=1,
        description="Folder with token and ca.crt of the service account.",
    )


class Proxy(Group):
    """What is in front of the service, and what it is believed."""

    trusted: Annotated[str, AfterValidator(_networks)] = Field(
        default="",
        description="Addresses and CIDRs of proxies, with commas between, whose X-Forwarded-* "
        "headers are read. Empty: nobody's are. Clients that connect directly from such an "
        "address can claim to be anybody.",
    )
    headers: Annotated[
        str, _matches(rf"{_FORWARDED}( *, *{_FORWARDED})*", "for,proto,host,prefix or some of them")
    ] = Field(
        default="for,proto",
        description="Which of X-Forwarded-For, -Proto, -Host and -Prefix are read: those that "
        "the proxies set themselves. One that a proxy passes on as the client sent it must not "
        "be among them.",
    )
    root_path: Annotated[str, _matches(r"(/[-a-zA-Z0-9._~]+)+", "/api")] = Field(
        default="",
        description="Path under which clients reach the service, such as /api, whether the "
        "proxy strips it or not. Redirects, absolute URLs and /docs contain it. "
        "X-Forwarded-Prefix wins over it.",
    )


class Probes(Group):
    """When a probe says no."""

    stall_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="Blocked event loop after which /livez fails."
    )
    unready_seconds: float = Field(
        default=2.0, gt=0, le=3600, description="Blocked event loop after which /readyz fails."
    )
    main_port: bool = Field(
        default=True,
        description="Answer /livez and /readyz on APP_PORT too, for balancers and for the "
        "question who answers at the Service's address.",
    )


class Log(Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity that is logged."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, JSON elsewhere."
    )
    access: bool = Field(default=True, description="Log a line per request; never for probes.")


#% if cookiecutter.leader_election == "yes"
class LeaderElection(Group):
    """Which pod runs the singletons: the one that holds the Lease."""

    lease: Annotated[str, _matches(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "web")] = Field(
        default="<< cookiecutter.project_slug >>",
        min_length=1,
        description="Name of the Lease, in the pod's namespace.",
    )
    lease_seconds: int = Field(
        default=15,
        ge=1,
        le=3600,
        description="Time after its last sign of life from which another pod may lead.",
    )
    renew_seconds: float = Field(
        default=10.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Time without an answer after which a leader gives up and cancels its "
        "singletons; they have until the lease is over to clean up.",
    )
    retry_seconds: float = Field(
        default=2.0,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="Time between two renewals, or two attempts; up to a fifth is added.",
    )
    finish_seconds: Seconds = Field(
        default=1.0,
        description="Time that a singleton under way gets to finish at a stop, before it is "
        "cancelled and the lease handed over.",
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
                "a leader has to get a second attempt"
            )
        return self


#% endif
class Settings(BaseSettings):
    """All settings of the service. Raises pydantic's ValidationError with all that is wrong."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
    )

    host: str = Field(
        default="::", description="Address to listen on; :: means all, IPv6 and IPv4."
    )
    port: Port = Field(default=8080, description="Port of the service.")
    management_port: Port = Field(
        default=8081, description="Port of probes and status; not for the Service."
    )
    control_socket: str = Field(
        default="/run/app/control.sock",
        min_length=1,
        description="Unix socket of the preStop hook; a private directory under the temporary "
        "folder when its directory is not writable.",
    )
    keep_alive_seconds: int = Field(
        default=75,
        ge=1,
        le=7200,
        description="Idle time after which a connection is closed; keep it longer than that of "
        "the proxy in front: 60 as a rule, an hour if it is Envoy.",
    )
    shutdown: Shutdown = Field(default_factory=Shutdown)
    kubernetes: Kubernetes = Kubernetes()
    proxy: Proxy = Proxy()
    probes: Probes = Probes()
#% if cookiecutter.leader_election == "yes"
    leader_election: LeaderElection = LeaderElection()
#% endif
    log: Log = Log()

    @model_validator(mode="after")
    def _two_ports(self) -> "Settings":
        if self.port == self.management_port:
            raise ValueError(f"PORT and APP_MANAGEMENT_PORT are both {self.port}: they must differ")
        return self
