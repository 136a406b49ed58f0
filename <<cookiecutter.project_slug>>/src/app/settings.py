"""The settings of the service: ``APP_*`` variables, nested ones with two underscores."""

from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

#% if cookiecutter.database == "postgresql"
from app.database.settings import Database, Migrations, Outbox
#% endif
#% if cookiecutter.tls == "yes"
from app.lifecycle.certificate_settings import Tls
#% endif
from app.lifecycle.request_settings import Requests, WebSockets
#% if cookiecutter.service_registry == "none"
from app.lifecycle.settings import (
    Group,
    Kubernetes,
#% if cookiecutter.leader_election == "yes"
    LeaderElection,
#% endif
    Port,
    Probes,
    Proxy,
    Shutdown,
)

#% else
from app.lifecycle.settings import (
    Group,
    Kubernetes,
#% if cookiecutter.leader_election == "yes"
    LeaderElection,
#% endif
    Port,
    Probes,
    Proxy,
    Shutdown,
)
from app.registry.settings import Registry

#% endif
PREFIX = "APP_"


class Log(Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="auto: console on a terminal, else JSON."
    )
    access: bool = Field(default=True, description="Log a line per request, except for probes.")
    access_share: float = Field(
        default=1,
        ge=0,
        le=1,
        description="Share of the requests with a 2xx status that get a line, chosen at random.",
    )


class Settings(BaseSettings):
    """All settings. Raises pydantic's ValidationError with everything that is wrong."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
    )

    host: str = Field(
        default="::", description="Address to listen on; :: means all IPv6 and IPv4 addresses."
    )
    port: Port = Field(default=8080, description="Port of the service.")
    management_port: Port = Field(
        default=8081, description="Port of probes, status and metrics; not part of the Service."
    )
    control_socket: str = Field(
        default="/run/app/control.sock",
        min_length=1,
        description="Unix socket of the preStop hook. If its directory is not writable, a private "
        "directory in the temporary folder is used.",
    )
    keep_alive_seconds: int = Field(
        default=75,
        ge=1,
        le=7200,
        description="Idle time after which a connection is closed. Must be longer than that of the "
        "proxy in front: usually 60, for Envoy 3600.",
    )
    shutdown: Shutdown = Field(default_factory=Shutdown)
    kubernetes: Kubernetes = Kubernetes()
    proxy: Proxy = Proxy()
    probes: Probes = Probes()
    requests: Requests = Requests()
    websockets: WebSockets = WebSockets()
#% if cookiecutter.tls == "yes"
    tls: Tls = Tls()
#% endif
#% if cookiecutter.database == "postgresql"
    database: Database = Field(default_factory=Database)
    migrations: Migrations = Migrations()
    outbox: Outbox = Outbox()
#% endif
#% if cookiecutter.leader_election == "yes"
    leader_election: LeaderElection = LeaderElection()
#% endif
#% if cookiecutter.service_registry != "none"
    registry: Registry = Registry()
#% endif
    log: Log = Log()

    @model_validator(mode="after")
    def _timeout_within_limit(self) -> "Settings":
        timeout, limit = self.requests.timeout_seconds, self.shutdown.limit_seconds
        if timeout is not None and timeout > limit:
            raise ValueError(
                f"REQUESTS__TIMEOUT_SECONDS={timeout:g} is above "
                f"APP_SHUTDOWN__LIMIT_SECONDS={limit:g}: a stop would cut off requests that still "
                "have time; raise the limit or lower the timeout"
            )
        return self

    @model_validator(mode="after")
    def _least_keep_alive_below_keep_alive(self) -> "Settings":
        least = self.requests.keep_alive_least_seconds
        if least is not None and least > self.keep_alive_seconds:
            raise ValueError(
                f"REQUESTS__KEEP_ALIVE_LEAST_SECONDS={least:g} is above "
                f"APP_KEEP_ALIVE_SECONDS={self.keep_alive_seconds}: raise the one or lower the "
                "other"
            )
        return self

    @model_validator(mode="after")
    def _keep_alive_above_idle_of_proxy(self) -> "Settings":
        idle = self.proxy.idle_seconds
        times = {
            "KEEP_ALIVE_SECONDS": self.keep_alive_seconds,
            "REQUESTS__KEEP_ALIVE_LEAST_SECONDS": self.requests.keep_alive_least_seconds,
        }
        for name, seconds in times.items():
            if idle and seconds is not None and seconds <= idle:
                raise ValueError(
                    f"{name}={seconds:g} is not above APP_PROXY__IDLE_SECONDS={idle:g}: the "
                    "service could close a connection while the proxy sends a request on it"
                )
        return self

#% if cookiecutter.service_registry != "none"
    @model_validator(mode="after")
    def _readers_within_limit(self) -> "Settings":
        registry, limit = self.registry, self.shutdown.limit_seconds
        needed = registry.deregister_seconds + registry.readers_seconds
        if registry.url and needed > limit:
            raise ValueError(
                f"SHUTDOWN__LIMIT_SECONDS={limit:g} is below the {needed:g} s of "
                "APP_REGISTRY__DEREGISTER_SECONDS and APP_REGISTRY__READERS_SECONDS: clients of "
                "the registry would still send requests after the drain; raise the limit"
            )
        return self

#% endif
    @model_validator(mode="after")
    def _two_ports(self) -> "Settings":
        if self.port == self.management_port:
            raise ValueError(f"PORT and APP_MANAGEMENT_PORT are both {self.port}: they must differ")
        return self
