"""When the time of a request is over: what its route says, its caller and the default.

Nothing is computed while a request starts. A sweep looks at those that are still running
ten times a second, which costs less than a timer for each.
"""

import asyncio
import math
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from app.lifecycle.http.threads import OverdueThreads

if TYPE_CHECKING:
    from app.lifecycle.http.exchange import Exchange

log = structlog.get_logger(__name__)

#: Why a request was cancelled.
Cause = Literal["deadline", "client gone", "slow body", "slow reader", "idle", "drain", "hurried"]

#: Seconds between two sweeps.
PERIOD = 0.1
#: The most of the event loop's time that the sweeps may take.
SHARE = 0.01
#: The attribute of an endpoint function that holds its ``RouteRule``.
RULE = "__request_rule__"

#: Carries the remaining seconds to the next service. No name is registered for this.
HEADER = "x-request-timeout"
#: Seconds of the units of gRPC's ``grpc-timeout``.
GRPC_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

_seconds = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?").fullmatch
_milliseconds = re.compile(rb"[0-9]{1,12}").fullmatch
_grpc = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
#: RFC 7240, section 4.3: the client waits for this number of seconds.
_wait = re.compile(rb'(?:^|[,;\s])wait\s*=\s*"?([0-9]{1,9})"?(?=$|[,;\s])', re.IGNORECASE).search


@dataclass(frozen=True, slots=True)
class RouteRule:
    """What a route says of its requests."""

    #: Seconds that a request may take; infinite: as long as it needs; None: the default.
    timeout: float | None = None
    #: Whether the handler goes on when its client has left.
    finishes: bool = False


NO_RULE = RouteRule()


def rule_of(endpoint: object) -> RouteRule:
    """The rule of an endpoint function."""
    rule = getattr(endpoint, RULE, NO_RULE)
    return rule if isinstance(rule, RouteRule) else NO_RULE


def wanted_by_caller(headers: Iterable[tuple[bytes, bytes]]) -> float:
    """The seconds for which the caller waits; infinite if it does not say.

    Reads ``X-Request-Timeout`` (seconds), ``Prefer: wait`` (RFC 7240), ``grpc-timeout`` and
    Envoy's ``x-envoy-expected-rq-timeout-ms``; the shortest counts. Zero and what cannot be
    read are ignored. A caller can only shorten its time, so none has to be trusted.
    """
    found = math.inf
    for name, value in headers:
        match name:
            case b"x-request-timeout":
                seconds = float(value) if _seconds(value) else 0.0
            case b"x-envoy-expected-rq-timeout-ms":
                seconds = int(value) / 1000 if _milliseconds(value) else 0.0
            case b"grpc-timeout":
                parts = _grpc(value)
                seconds = int(parts[1]) * GRPC_UNITS[parts[2]] if parts else 0.0
            case b"prefer":
                wait = _wait(value)
                seconds = float(wait[1]) if wait else 0.0
            case _:
                continue
        if seconds > 0:
            found = min(found, seconds)
    return found


def firm_deadline(exchange: "Exchange") -> float:
    """The deadline that the route or the caller has set, on the monotonic clock.

    It holds to the last byte of the response. Infinite if neither says anything. Known
    once the request is routed; until then the caller's counts.
    """
    endpoint = exchange.scope.get("endpoint")
    timeout = rule_of(endpoint).timeout
    wanted = wanted_by_caller(exchange.scope["headers"])
    if timeout is None:
        seconds = min(wanted, exchange.lifecycle.timeout) if wanted < math.inf else wanted
    else:
        seconds = min(wanted, timeout)
    deadline = exchange.began + seconds
    if endpoint is not None:
        exchange.firm_deadline = deadline
    return deadline


def deadline_of(exchange: "Exchange") -> float:
    """When ``exchange`` is cancelled, on the monotonic clock; infinite for streams.

    The default only limits the time until the response starts: a long download is no error.
    """
    if exchange.stream or exchange.complete:
        return math.inf
    firm = exchange.firm_deadline
    if firm is None:
        firm = firm_deadline(exchange)
    if exchange.status or rule_of(exchange.scope.get("endpoint")).timeout is not None:
        return firm
    return min(firm, exchange.began + exchange.lifecycle.timeout)


def sweep(exchanges: Iterable["Exchange"], now: float) -> list["Exchange"]:
    """Cancel the requests whose time is over and those whose client has left; return them."""
    cancelled = []
    for exchange in exchanges:
        if exchange.cause or exchange.complete or exchange.stream:
            continue
        if exchange.client_gone:
            if rule_of(exchange.scope.get("endpoint")).finishes:
                continue
            cause = exchange.left_because
        elif now >= deadline_of(exchange):
            cause = "deadline"
        else:
            continue
        exchange.cancel(cause)
        cancelled.append(exchange)
    return cancelled


async def sweep_forever(exchanges: Iterable["Exchange"], threads: OverdueThreads) -> None:
    """Sweep ``exchanges`` every PERIOD seconds, more rarely if that takes more than SHARE.

    CPU time decides: a pod that is throttled for 100 ms within a sweep must not skip 10 s.
    """
    while True:
        began = time.thread_time()
        try:
            swept = sweep(exchanges, time.monotonic())
            cancelled = [exchange.scope.get("endpoint") for exchange in swept]
            threads.update(cancelled)
        except Exception:
            log.exception("sweep of deadlines failed")
        await asyncio.sleep(max(PERIOD, (time.thread_time() - began) / SHARE))
