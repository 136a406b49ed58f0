"""Where the drain reads the evidence: requests in flight, connections, the endpoint."""

import asyncio
import contextlib

from app.lifecycle.drain import Evidence, Rotation
from app.lifecycle.server import HttpServer
from app.lifecycle.traffic import Traffic

#: Seconds between two looks at buffers that are still being sent out.
LOOK = 0.05


class TrafficGauge:
    """Evidence from the requests of ``traffic`` and the connections of ``server``."""

    def __init__(self, traffic: Traffic, server: HttpServer) -> None:
        self._traffic = traffic
        self._server = server
        self._flushing = 0
        self._rotation = Rotation()

    def set_rotation(self, rotation: Rotation) -> None:
        """Take over what has been found out about the endpoint; in the main thread."""
        self._rotation = rotation
        self._traffic.changed.set()

    def evidence(self, began: float) -> Evidence:
        self._traffic.changed.clear()
        self._flushing = self._server.flushing()
        return Evidence(
            began=began,
            last_arrival=max(self._traffic.last_request, self._server.newest_silent()),
            rotation=self._rotation,
            in_flight=len(self._traffic.in_flight()) + self._flushing,
        )

    async def changed(self) -> None:
        """Return at the next change since ``evidence`` was read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK if self._flushing else None):
                await self._traffic.changed.wait()
