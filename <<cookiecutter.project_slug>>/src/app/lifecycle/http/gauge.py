"""Where the drain reads the evidence: requests in flight, connections, the endpoint."""

import asyncio
import contextlib

from app.lifecycle.drain import Evidence, Rotation
from app.lifecycle.http.server import HttpServer
from app.lifecycle.http.traffic import Traffic

#: Seconds between two looks at buffers that are still being sent out.
LOOK = 0.05


class TrafficGauge:
    """Evidence from the requests of ``traffic`` and the connections of ``server``.

    An arrival wakes nobody: it only puts a date off, and the drain looks at that
    date. So a request costs the same however many connections and streams are open.
    """

    def __init__(self, traffic: Traffic, server: HttpServer) -> None:
        self._traffic = traffic
        self._server = server
        self._flushing = 0
        self._rotation = Rotation()
        self._changed = asyncio.Event()
        self._idle_awaited = False
        traffic.on_idle = self._idle

    def set_rotation(self, rotation: Rotation) -> None:
        """Take over what has been found out about the endpoint; in the main thread."""
        self._rotation = rotation
        self.wake()

    def evidence(self, began: float) -> Evidence:
        self._changed.clear()
        in_flight = self._traffic.in_flight
        # Looks through all connections: only where it can make a difference.
        self._flushing = 0 if in_flight else self._server.flushing()
        return Evidence(
            began=began,
            last_arrival=max(self._traffic.last_request, self._server.connections.newest_silent()),
            rotation=self._rotation,
            in_flight=in_flight + self._flushing,
        )

    async def changed(self, timeout: float, *, idle: bool) -> None:
        self._idle_awaited = idle
        if self._flushing:
            timeout = min(timeout, LOOK)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()

    def wake(self) -> None:
        self._changed.set()

    def _idle(self) -> None:
        if self._idle_awaited:
            self._changed.set()
