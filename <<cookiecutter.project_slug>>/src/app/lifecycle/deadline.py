"""How much time the current request has left, and why it ended: Go's context, in Python's terms.

Works in coroutines, task groups, ``def`` endpoints, ``asyncio.to_thread`` and background work
of a request; outside of one there is no deadline. For example::

    @router.get("/report")
    @deadline.timeout(5)
    async def report() -> Report:
        async with asyncio.timeout(deadline.remaining() - 1):
            ...
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

from app.lifecycle.http.deadlines import HEADER, RULE, deadline_of, rule_of
from app.lifecycle.http.exchange import Exchange
#% if cookiecutter.tracing == "opentelemetry"
from app.observability import spans
#% endif
from app.observability.logging import current_request

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

#: Seconds that are not worth beginning anything; timers may also fire that much early.
LEAST = 0.001

#: The deadline of a task that has its own, on the monotonic clock; infinite: it has none.
_own: ContextVar[float | None] = ContextVar("deadline", default=None)


class DeadlineExceeded(TimeoutError):  # noqa: N818 (the name of Go and gRPC)
    """The current request has no time left; a handler that raises it is answered 504."""


def timeout(seconds: float | None) -> Callable[[Endpoint], Endpoint]:
    """Decorate an endpoint: its requests may take ``seconds``, to the last byte of the response.

    None: as long as they need, but no longer than a stop lets them. It replaces the default
    of APP_REQUESTS__TIMEOUT_SECONDS. Put it below the route's decorator. Raises ValueError if
    ``seconds`` is not above 0.
    """
    if seconds is not None and not seconds > 0:
        raise ValueError(f"timeout of {seconds!r}: must be above 0 seconds, or None for no limit")

    def mark(endpoint: Endpoint) -> Endpoint:
        limit = math.inf if seconds is None else float(seconds)
        setattr(endpoint, RULE, replace(rule_of(endpoint), timeout=limit))
        return endpoint

    return mark


def finishes(endpoint: Endpoint) -> Endpoint:
    """Decorate an endpoint that must run to its end even if its client has left.

    Without it the handler is cancelled: nobody would get its response.
    """
    setattr(endpoint, RULE, replace(rule_of(endpoint), finishes=True))
    return endpoint


def remaining() -> float:
    """Seconds until the current request is cancelled; 0 once it is, infinite without a limit.

    During a drain never more than what is left until requests in flight are cut off.
    """
    if (own := _own.get()) is not None:
        return max(0.0, own - time.monotonic())
    exchange = current_request.get()
    if not isinstance(exchange, Exchange):
        return math.inf
    if exchange.cause:
        return 0.0
    left = deadline_of(exchange) - time.monotonic()
    return max(0.0, min(left, exchange.lifecycle.until_cut()))


def expired() -> bool:
    """Whether the current request was cancelled or has no time left."""
    return remaining() < LEAST


def reason() -> str:
    """Why the current request was cancelled; empty while it was not.

    ``client gone``, ``deadline``, ``drain`` or ``hurried`` (a second signal, or a grace
    period that turned out shorter).
    """
    exchange = current_request.get()
    if _own.get() is None and isinstance(exchange, Exchange):
        if exchange.cause:
            return exchange.cause
        if exchange.client_gone and not exchange.complete:
            return "client gone"
    return "deadline" if expired() else ""


def raise_if_expired() -> None:
    """Raise DeadlineExceeded if no time is left. For loops in ``def`` endpoints and threads,
    which nothing can interrupt."""
    if expired():
        raise DeadlineExceeded(f"the request has no time left ({reason()})")


async def propagate(request: Any) -> None:
    """An event hook for httpx: the called service learns whose request this is part of.

#% if cookiecutter.tracing == "opentelemetry"
    Sets ``traceparent`` and ``baggage``, ``X-Request-ID`` unless the call has one, and how much
    time is left, ``X-Request-Timeout``; lowers the call's own timeouts to that::

#% else
    Sets ``X-Request-ID`` unless the call has one, and how much time is left,
    ``X-Request-Timeout``; lowers the call's own timeouts to that::

#% endif

        httpx.AsyncClient(event_hooks={"request": [deadline.propagate]})

    Raises DeadlineExceeded if none is left.
    """
    raise_if_expired()
#% if cookiecutter.tracing == "opentelemetry"
    spans.inject(request.headers)
#% endif
    if (current := current_request.get()) is not None:
        request.headers.setdefault("x-request-id", current.request_id)
    left = remaining()
    if left == math.inf:
        return
    request.headers[HEADER] = f"{left:.3f}"
    own = request.extensions.get("timeout", {})
    request.extensions["timeout"] = {
        name: left if own.get(name) is None else min(left, own[name])
        for name in ("connect", "read", "write", "pool")
    }


async def drop(work: Awaitable[object]) -> None:
    """Await ``work`` without the deadline of the current request."""
    _own.set(math.inf)
    await work


def keep(work: Awaitable[object]) -> Coroutine[object, object, None]:
    """Await ``work`` until the deadline that holds now, even if the request is done before.

    Raises TimeoutError then.
    """
    return _until(time.monotonic() + remaining(), work)


async def _until(own: float, work: Awaitable[object]) -> None:
    _own.set(own)
    async with asyncio.timeout(None if own == math.inf else own - time.monotonic()):
        await work
