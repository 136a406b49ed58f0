"""What all clients share, and the client that keeps its connection."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from drill.client import Answer, Connection
from drill.endpoints import Endpoint, EndpointTable
from drill.errors import DrillError
from drill.ledger import Ledger
from drill.loss import Lost, Reason


@dataclass(frozen=True)
class Routes:
    """What the clients call; as it stands, the routes of ``app/api/examples.py``."""

    plain: str = "/hello"
    slow: str = "/slow?seconds=1.5"
    jobs: str = "/jobs"
    events: str = "/events"
    echo: str = "/echo"
    job_seconds: float = 0.5
    upload_octets: int = 65_536
    upload_seconds: float = 0.6


class Traffic:
    """What all clients share: the endpoints they see and the ledger of their requests."""

    def __init__(
        self,
        table: EndpointTable,
        ledger: Ledger,
        clock: Callable[[], float],
        routes: Routes,
    ) -> None:
        self.ledger = ledger
        self.clock = clock
        self.routes = routes
        self._table = table

    def pick(self) -> Endpoint:
        """An endpoint for a new connection, at random as kube-proxy picks it."""
        if endpoints := self._table.seen():
            return random.choice(endpoints)
        raise Lost(Reason.NO_ENDPOINT)

    def expect_success(self, target: str, status: int) -> None:
        if status >= 500 or status in (408, 425, 429):
            raise Lost(Reason.STATUS, str(status))
        if status >= 400:
            raise DrillError(
                f"{target} answered {status}: the drill calls the routes of app/api/examples.py; "
                "bring them back or name your own in drill/traffic.py (Routes)."
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

    async def get(self, target: str) -> Answer:
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
                answer = await connection.request("GET", target)
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
