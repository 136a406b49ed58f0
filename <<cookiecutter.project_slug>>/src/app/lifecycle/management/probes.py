"""Three probes, three questions.

``/startupz``: has it started? ``/livez``: does its event loop still run? ``/readyz``: should
it get requests now? Each is answered from memory, in the calling thread, whatever the main
loop is doing.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from typing import NamedTuple

from app.lifecycle.asgi import App, Receive, Scope, Send
from app.lifecycle.checks import Checks
from app.lifecycle.management.server import Response, Route
from app.lifecycle.phase import Lifecycle, Phase
from app.observability.histogram import Histogram

#: Seconds between two heartbeats of the main loop.
BEAT = 0.25
#: Upper bounds of the buckets of the loop's lag, in seconds.
LAGS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: Maximum of ``/startupz?wait=`` in seconds.
MAX_WAIT = 4.0


class Heartbeat:
    """Detects a blocked event loop; beats in the loop that calls ``start``."""

    def __init__(self) -> None:
        self._last: float | None = None
        self.lag = Histogram(
            "app_event_loop_lag_seconds",
            "Delay of a timer in the event loop, measured four times a second.",
            LAGS,
        )
        self._lags = self.lag.series({})

    def start(self) -> None:
        now = time.monotonic()
        if self._last is not None:
            self._lags.observe(max(0.0, now - self._last - BEAT))
        self._last = now
        asyncio.get_running_loop().call_later(BEAT, self.start)

    def stalled(self) -> float:
        """Seconds for which the loop has been blocked; 0 before ``start``."""
        return 0.0 if self._last is None else max(0.0, time.monotonic() - self._last - BEAT)


class Answer(NamedTuple):
    """The result of a probe, with a reason for people to read."""

    ok: bool
    reason: str


class Probes:
    """Answers the probes.

    ``stall`` and ``unready`` are the seconds for which the main loop may be blocked before
    the process counts as dead and as unready.
    """

    def __init__(
        self, lifecycle: Lifecycle, checks: Checks, *, stall: float, unready: float
    ) -> None:
        self._lifecycle = lifecycle
        self._checks = checks
        self._stall = stall
        self._unready = unready
        self.heartbeat = Heartbeat()

    def startupz(self) -> Answer:
        started = self._lifecycle.phase >= Phase.READY
        return Answer(started, "started" if started else "starting")

    def livez(self) -> Answer:
        """True during a whole stop: a restart would only lose the requests in flight."""
        stalled = self.heartbeat.stalled()
        if stalled > self._stall and not self._lifecycle.draining:
            return Answer(False, f"event loop blocked for {stalled:.1f} s")
        return Answer(True, "alive")

    def readyz(self) -> Answer:
        phase = self._lifecycle.phase
        if phase is not Phase.READY:
            return Answer(False, f"{phase.label}: {self._lifecycle.reason}")
        stalled = self.heartbeat.stalled()
        if stalled > self._unready:
            return Answer(False, f"event loop blocked for {stalled:.1f} s")
        ill = self._checks.failing()
        return Answer(not ill, ill or "ready")

    def routes(self) -> dict[str, Route]:
        """The probes by path."""
        livez, readyz = route(self.livez), route(self.readyz)
        return {"/startupz": self._startupz, "/livez": livez, "/readyz": readyz}

    async def _startupz(self, scope: Scope) -> Response:
        """With ``?wait=4``, wait for the start up to 4 seconds (at most MAX_WAIT).

        A kubelet that waits sees the start as soon as it is done, and writes no
        ``Unhealthy`` event.
        """
        wait = scope["query_string"].removeprefix(b"wait=")
        if wait.isdigit():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(float(wait), MAX_WAIT)):
                    await self._lifecycle.wait(Phase.READY)
        return _response(self.startupz(), scope)


def route(question: Callable[[], Answer]) -> Route:
    """A route that answers 200 or 503, as text or JSON."""

    async def answer(scope: Scope) -> Response:
        return _response(question(), scope)

    return answer


def _response(answer: Answer, scope: Scope) -> Response:
    status = 200 if answer.ok else 503
    if any(name == b"accept" and b"application/json" in value for name, value in scope["headers"]):
        return Response(status, json.dumps(answer._asdict()), b"application/json")
    return Response(status, f"{'ok' if answer.ok else answer.reason}\n")


def asgi(route: Route, *extra: tuple[bytes, bytes]) -> App:
    """``route`` as an ASGI application for the main port, with ``extra`` headers."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        response = await route(scope)
        headers = [*extra, *response.headers()]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.text.encode()})

    return app
