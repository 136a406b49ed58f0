"""The settings of the service registry."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from app.lifecycle.settings import Group, Period, Seconds, matches

_NAME = r"[a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?"


class Registry(Group):
    """The service registry; without a URL the service is not registered."""

#% if cookiecutter.service_registry == "consul"
    url: Annotated[str, matches(r"https?://[^/\s@]+/?", "http://consul:8500")] = Field(
        default="",
        description="Address of the Consul agent, always the same one. Empty: not registered.",
    )
    strategy: Literal["heartbeat", "probe", "event"] = Field(
        default="heartbeat",
        description="heartbeat: the service reports its readiness before TTL_SECONDS are over. "
        "probe: Consul asks /readyz on APP_PORT. event: the service calls only when its "
        "readiness changes; a killed pod stays listed.",
    )
    token: SecretStr = Field(
        default=SecretStr(""), description="ACL token with service:write for the service."
    )
    token_file: str = Field(
        default="",
        description="File with the token, read for each call, so that it can be rotated.",
    )
#% endif
#% if cookiecutter.service_registry == "nacos"
    url: Annotated[str, matches(r"https?://[^/\s@]+(/[-\w./]*)?", "http://nacos:8848")] = Field(
        default="",
        description="Address of Nacos, with its context path if that is not /nacos. Empty: not "
        "registered.",
    )
    strategy: Literal["heartbeat", "event"] = Field(
        default="heartbeat",
        description="heartbeat: an ephemeral instance that Nacos drops TTL_SECONDS after the last "
        "heartbeat. event: a persistent instance, changed only when the readiness changes; a "
        "killed pod stays listed.",
    )
    username: str = Field(default="", description="User of Nacos; empty: no login.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of the user.")
    password_file: str = Field(
        default="",
        description="File with the password, read at each login, so that it can be rotated.",
    )
    namespace: Annotated[str, matches(r"[-\w]+", "public")] = Field(
        default="public", min_length=1, description="Namespace of Nacos."
    )
    group: Annotated[str, matches(r"[-\w.:]+", "DEFAULT_GROUP")] = Field(
        default="DEFAULT_GROUP", min_length=1, description="Group in Nacos."
    )
#% endif
#% if cookiecutter.service_registry == "etcd"
    url: Annotated[str, matches(r"https?://[^/\s@]+/?", "http://etcd:2379")] = Field(
        default="", description="Address of etcd. Empty: not registered."
    )
    strategy: Literal["heartbeat", "event"] = Field(
        default="heartbeat",
        description="heartbeat: a key whose lease ends TTL_SECONDS after the last heartbeat. "
        "event: a key without a lease, changed only when the readiness changes; a killed pod "
        "stays listed.",
    )
    username: str = Field(default="", description="User of etcd; empty: no login.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of the user.")
    password_file: str = Field(
        default="",
        description="File with the password, read at each login, so that it can be rotated.",
    )
    prefix: Annotated[str, matches(r"/([-\w.]+/)*", "/services/")] = Field(
        default="/services/",
        min_length=1,
        description="The key is PREFIX, the name of the service, a slash and the pod's name.",
    )
#% endif
    ca_file: str = Field(
        default="",
        description="File with the CA of the registry; empty: the CAs of the system.",
    )
    service: Annotated[str, matches(_NAME, "web")] = Field(
        default="<< cookiecutter.project_slug >>",
        min_length=1,
        description="Name under which clients look the service up.",
    )
    address: Annotated[str, matches(r"[-a-zA-Z0-9.:]+", "10.0.0.7")] = Field(
        default="", description="Address for clients. Empty: the pod's first address, from POD_IPS."
    )
    tags: Annotated[str, matches(r"[^\s,]+( *, *[^\s,]+)*", "v1,public")] = Field(
        default="", description="Tags of the entry, comma-separated."
    )
    interval_seconds: Period = Field(
        default=5.0,
        description="Time between two rounds, plus up to a fifth: heartbeats, probes of the "
        "registry, attempts after a failure.",
    )
    ttl_seconds: int = Field(
        default=15,
        ge=1,
        le=3600,
        description="Time after the last heartbeat after which the registry drops the entry. Must "
        "be above 2.4 times INTERVAL_SECONDS.",
    )
    failures: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Rounds in a row in which the pod is not ready, after which it is taken out.",
    )
    successes: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Rounds in a row in which it is ready, after which it is put in again.",
    )
    timeout_seconds: Period = Field(
        default=2.0, description="Longest time for a call to the registry."
    )
    read_back_seconds: Period = Field(
        default=30.0,
        description="Time after which the service checks that the registry still lists it.",
    )
    deregister_seconds: Period = Field(
        default=3.0,
        description="Longest time to remove the entry when a stop begins; then the service gives "
        "up and waits until it expires.",
    )
    readers_seconds: Seconds = Field(
        default=15.0,
        description="Time after which every client has read a change of the registry: the longest "
        "interval at which clients poll. A stop keeps serving for this long after the removal.",
    )

    @model_validator(mode="after")
    def _beats_before_the_end(self) -> "Registry":
        if self.strategy == "heartbeat" and self.ttl_seconds <= 2.4 * self.interval_seconds:
            raise ValueError(
                f"TTL_SECONDS={self.ttl_seconds} is not above 2.4 times "
                f"APP_REGISTRY__INTERVAL_SECONDS={self.interval_seconds:g}: one lost heartbeat "
                "would take the pod out; raise the one or lower the other"
            )
        return self

    @model_validator(mode="after")
    def _ca_exists(self) -> "Registry":
        if self.url and self.ca_file and not Path(self.ca_file).is_file():
            raise ValueError(f"CA_FILE={self.ca_file} is not a file: mount the CA there")
        return self
