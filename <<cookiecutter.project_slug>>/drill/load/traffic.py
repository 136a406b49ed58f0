"""What all clients share, and the client that keeps its connection."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from drill.errors import DrillError
from drill.load.client import Answer, Connection
from drill.load.ledger import Ledger
from drill.load.loss import Lost, Reason
from drill.load.routes import Call, Routes
from drill.record import Endpoint


@dataclass(frozen=True)
class Traffic:
    """What all clients share."""

    #: An endpoint for a new connection; raises ``Lost`` where there is none.
    pick: Callable[[], Endpoint]
    ledger: Ledger
    #: Seconds, of the same zero as the rehearsal's.
    clock: Callable[[], float]
    routes: Routes

    def expect_success(self, call: Call, status: int) -> None:
        if status >= 500 or status in (408, 425, 429):
            raise Lost(Reason.STATUS, str(status))
        if status >= 400:
            raise DrillError(
                f"{call.method} {call.path} answered {status}: "
                "name a route in drill.toml that the service has."
            )


class KeptClient:
    """A client that keeps its connection and so stays with one pod, as conntrack pins it.

    With ``checks`` it looks at the socket before each reuse and reopens what
    the server closed. Without, it finds out by losing the request.
    """

    def __init__(self, traffic: Traffic, *, checks: bool) -> None:
        self.pod = ""
        self._traffic = traffic
        self._checks = checks
        self._connection: Connection | None = None
        self._free = asyncio.Lock()

    async def send(self, call: Call) -> Answer:
        async with self._free:
            if self._connection and self._checks and self._connection.stale():
                self.close()
            if self._connection is None:
                self.pod = ""
                endpoint = self._traffic.pick()
                self.pod = endpoint.pod
                self._connection = await Connection.open(endpoint.host, endpoint.port)
            connection = self._connection
            try:
                answer = await connection.request(
                    call.method, call.path, call.body.encode(), call.headers
                )
            except BaseException:
                self.close()
                raise
            if answer.head.closes:
                self.close()
            return answer

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None
