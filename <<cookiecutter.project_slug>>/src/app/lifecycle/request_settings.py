"""The settings of requests: their time, what a client may take, and how many are served at once."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.lifecycle.settings import Group, Period, Seconds, matches


class Requests(Group):
    """What a request and its client may take, and how many are served at once."""

    timeout_seconds: float | None = Field(
        default=None,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="Time until a response must have started; then the handler is cancelled and "
        "the client gets 504. Routes can set their own. 0: no limit. Default: "
        "APP_SHUTDOWN__LIMIT_SECONDS, for a stop would cut off what takes longer.",
    )
    header_seconds: float = Field(
        default=10.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="Time until the headers of a request must be complete, from their first byte, "
        "and until the first byte, from the connection.",
    )
    header_bytes: int = Field(
        default=64 * 1024,
        ge=1024,
        le=16 * 1024 * 1024,
        description="Largest request line with its headers, in bytes; beyond it the client gets "
        "431.",
    )
    body_bytes: int = Field(
        default=1024 * 1024,
        ge=0,
        description="Largest body of a request, in bytes; beyond it the client gets 413. "
        "FastAPI's max_body_size overrides it for the application, a router or a route. 0: no "
        "limit.",
    )
    least_rate: float = Field(
        default=500.0,
        ge=0,
        allow_inf_nan=False,
        description="Bytes per second that a client must send of a body, or take of a response "
        "that waits for it. 0: no limit.",
    )
    stall_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="Time by which a client may fall behind that rate: one that sends or takes "
        "nothing is disconnected after it. Proxies that buffer read in bursts, so keep it long.",
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="Most open connections to the main port; further ones are closed at once. "
        "Default, and at most: what the limit of file descriptors allows.",
    )
    keep_alive_least_seconds: float | None = Field(
        default=None,
        ge=1,
        le=7200,
        allow_inf_nan=False,
        description="Idle time after which connections are closed while there are almost as many "
        "connections as MAX_CONNECTIONS allows, or requests in flight as MAX_IN_FLIGHT. Must be "
        "longer than APP_PROXY__IDLE_SECONDS. Default: APP_KEEP_ALIVE_SECONDS, so that it makes no "
        "difference.",
    )
    max_in_flight: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Requests in flight above which more of them wait or get 503; streams and "
        "probes do not count. Unset: no limit. Choose what the pod serves within its latency "
        "target, measured under load.",
    )
    in_flight_limit: Literal["fixed", "adaptive"] = Field(
        default="fixed",
        description="fixed: the limit is MAX_IN_FLIGHT. adaptive: between MIN_IN_FLIGHT and "
        "MAX_IN_FLIGHT, lower while requests take over 1.5 times as long as in the unloaded "
        "service. Needs requests that take similar times.",
    )
    min_in_flight: int = Field(
        default=4,
        ge=1,
        le=100_000,
        description="Least limit if it is adaptive. Every minute under load, the latency of the "
        "unloaded service is measured at this limit.",
    )
    queue: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Requests above the limit that may wait, for short bursts; the newest is "
        "served first. 0: none waits.",
    )
    queue_seconds: float = Field(
        default=0.1,
        gt=0,
        le=60,
        allow_inf_nan=False,
        description="Longest time in the queue; then the request gets 503.",
    )
    priority: Literal["off", "header", "method"] = Field(
        default="off",
        description="Which requests are shed last. header: what PRIORITY_HEADER says, low, normal "
        "or high; anything else is normal. method: POST, PUT, PATCH and DELETE are high, others "
        "low. off: all are alike.",
    )
    priority_header: Annotated[str, matches(r"[A-Za-z0-9][-A-Za-z0-9_]*", "X-Priority")] = Field(
        default="X-Priority",
        min_length=1,
        description="Header with the priority. Any client can claim a high one, unless the proxy "
        "in front removes the header.",
    )
    reserved_share: float = Field(
        default=0.2,
        ge=0,
        le=0.9,
        allow_inf_nan=False,
        description="Share of the limit that low requests leave free; normal ones leave half of "
        "it. Only with a PRIORITY.",
    )

    @model_validator(mode="after")
    def _limit_in_order(self) -> "Requests":
        if self.in_flight_limit == "fixed":
            return self
        if self.max_in_flight is None:
            raise ValueError(
                "IN_FLIGHT_LIMIT=adaptive needs APP_REQUESTS__MAX_IN_FLIGHT: "
                "set the highest limit that it may choose"
            )
        if self.max_in_flight < self.min_in_flight:
            raise ValueError(
                f"MAX_IN_FLIGHT={self.max_in_flight} is below "
                f"APP_REQUESTS__MIN_IN_FLIGHT={self.min_in_flight}: raise the one or lower the "
                "other"
            )
        return self


class WebSockets(Group):
    """What the client of a WebSocket may take."""

    message_bytes: int = Field(
        default=1024 * 1024,
        ge=1,
        description="Largest message from a client, in bytes; beyond it the WebSocket is closed "
        "with code 1009.",
    )
    ping_seconds: Period = Field(
        default=20.0,
        description="Time between two pings, which also keep proxies from closing a quiet "
        "WebSocket.",
    )
    pong_seconds: Period = Field(
        default=20.0,
        description="Time in which a client must answer a ping; else its WebSocket is closed with "
        "code 1011.",
    )
    idle_seconds: Seconds = Field(
        default=0.0,
        description="Time without a message in either direction after which a WebSocket is closed "
        "with code 1001; pings do not count. 0: never.",
    )
    max_open: int | None = Field(
        default=None,
        ge=1,
        description="Most open WebSockets; further ones get 503 instead of their upgrade. Default: "
        "as many as connections.",
    )
