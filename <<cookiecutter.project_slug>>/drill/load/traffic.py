"""The load of requests, each kind in its share.

It is an open loop: requests are due at a fixed rate, whether or not earlier
ones have been answered, as with independent users.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from drill.errors import DrillError
from drill.load.client import Answer, Body, Connection, Head
from drill.load.ledger import Kind, Ledger, Lost, Reason
from drill.load.routes import Call, Routes, Upload
from drill.record import Endpoint


class Shed(Exception):  # noqa: N818
    """A pod above its limit asked to try again later."""


@dataclass(frozen=True)
class Traffic:
    """What all clients share."""

    #: Picks an endpoint for a new connection; raises ``Lost`` if there is none.
    pick: Callable[[], Endpoint]
    ledger: Ledger
    #: Seconds on the rehearsal's clock.
    clock: Callable[[], float]
    routes: Routes
    #: More is sent than the service can serve: 503 with Retry-After is a proper answer then.
    overloads: bool = False

    def expect_answer(self, call: Call, head: Head) -> None:
        if self.overloads and head.status == 503 and "retry-after" in head.headers:
            raise Shed
        self.expect_success(call, head.status)

    def expect_success(self, call: Call, status: int) -> None:
        if status >= 500 or status in (408, 425, 429):
            raise Lost(Reason.STATUS, str(status))
        if status >= 400:
            raise DrillError(
                f"{call.method} {call.path} answered {status}: "
                "name an existing route in drill.toml."
            )


class KeptClient:
    """A client that keeps its connection and so stays with one pod.

    With ``checks`` it tests the socket before each reuse and reconnects if the
    server has closed it, and does not wait for a connection in use, as pools do. Without,
    it finds out by losing the request.
    """

    def __init__(self, traffic: Traffic, *, checks: bool) -> None:
        self.pod = ""
        self._traffic = traffic
        self._checks = checks
        self._connection: Connection | None = None
        self._free = asyncio.Lock()

    @property
    def busy(self) -> bool:
        """Return whether another connection must be opened."""
        return self._checks and self._free.locked()

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


#: Requests a second of one kept connection.
#:
#: HTTP/1.1 cannot tell a client to close a connection that stays idle for longer
#: than the service waits for quiet. Clients that reuse such a connection without
#: a check lose requests with any server.
KEPT_RATE = 3.0


class Load:
    """Sends ``rate`` requests a second, each in a task of its own."""

    def __init__(self, traffic: Traffic, rate: float, tasks: asyncio.TaskGroup) -> None:
        #: How far the load fell behind its schedule, at most, in seconds.
        self.late = 0.0
        self._traffic = traffic
        #: Requests a second; a change takes effect after the next request.
        self.rate = rate
        #: Chooses the load on whose connections the next request is sent.
        self.route: Callable[[], Load] = lambda: self
        self._tasks = tasks
        self._shares = traffic.routes.sent()
        self._flying: set[asyncio.Task[None]] = set()
        self._kept: dict[Kind, list[KeptClient]] = {
            kind: self._clients(kind, checks=kind is Kind.CHECKED)
            for kind in (Kind.KEPT, Kind.CHECKED)
            if kind in self._shares
        }
        self._turns = {kind: itertools.cycle(clients) for kind, clients in self._kept.items()}

    async def run(self) -> None:
        """Send until cancelled; requests in flight continue, see ``finish``."""
        if not self._shares:
            return
        kinds = itertools.cycle(interleave(self._shares))
        due = self._traffic.clock()
        for kind in kinds:
            if (wait := due - self._traffic.clock()) > 0:
                await asyncio.sleep(wait)
            self.late = max(self.late, self._traffic.clock() - due)
            task = self._tasks.create_task(self.route()._attempt(Sent(kind, due)))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)
            due += 1 / self.rate

    async def finish(self) -> None:
        """Wait for requests in flight, then close the kept connections."""
        if self._flying:
            await asyncio.wait(self._flying)
        for client in itertools.chain(*self._kept.values()):
            client.close()

    def _clients(self, kind: Kind, *, checks: bool) -> list[KeptClient]:
        rate = self.rate * self._shares[kind] / sum(self._shares.values())
        count = max(1, round(rate / KEPT_RATE))
        return [KeptClient(self._traffic, checks=checks) for _ in range(count)]

    async def _attempt(self, sent: "Sent") -> None:
        ledger = self._traffic.ledger
        try:
            await self._send(sent)
        except Lost as lost:
            ledger.lost(sent.kind, sent.pod, sent.due, lost)
        except Shed:
            ledger.shed(sent.kind, sent.pod, sent.due)
        else:
            ledger.served(sent.kind, sent.pod, sent.due)

    async def _send(self, sent: "Sent") -> None:
        routes = self._traffic.routes
        match sent.kind:
            case Kind.KEPT | Kind.CHECKED if routes.plain:
                await self._reuse(sent, routes.plain)
            case Kind.NEW if routes.plain:
                await self._once(sent, routes.plain)
            case Kind.SLOW if routes.slow:
                await self._once(sent, routes.slow)
            case Kind.UPLOAD if routes.upload:
                await self._once(sent, routes.upload, trickled(routes.upload))
#% if cookiecutter.database == "postgresql"
            case Kind.WRITE if routes.write:
                await self._once(sent, routes.write.new())
#% endif
            case Kind.JOB if routes.job:
                answer = await self._once(sent, routes.job)
                self._accept(sent, answer, routes.job.id)

    async def _reuse(self, sent: "Sent", call: Call) -> None:
        client = next(self._turns[sent.kind])
        if client.busy:
            await self._once(sent, call)
            return
        try:
            answer = await client.send(call)
        finally:
            sent.pod = client.pod
        self._traffic.expect_answer(call, answer.head)

    async def _once(self, sent: "Sent", call: Call, body: Body | None = None) -> Answer:
        endpoint = self._traffic.pick()
        sent.pod = endpoint.pod
        connection = await Connection.open(endpoint.host, endpoint.port)
        headers = {**call.headers, "Connection": "close"}
        try:
            answer = await connection.request(
                call.method, call.path, body or call.body.encode(), headers
            )
        finally:
            connection.close()
        self._traffic.expect_answer(call, answer.head)
        return answer

    def _accept(self, sent: "Sent", answer: Answer, field: str) -> None:
        try:
            self._traffic.ledger.accepted(str(answer.json()[field]), sent.pod)
        except (ValueError, TypeError, KeyError) as error:
            raise Lost(Reason.MALFORMED, f"no {field} in the response") from error


@dataclass
class Sent:
    """A request in flight; ``pod`` is set once an endpoint is picked."""

    kind: Kind
    due: float
    pod: str = ""


def trickled(upload: Upload, parts: int = 8) -> Body:
    """Return a body that is sent in ``parts``, with a pause after each."""
    body = upload.body.encode().ljust(upload.octets)  # trailing white space is valid JSON
    size = -(-len(body) // parts)

    async def send() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]
            await asyncio.sleep(upload.seconds / parts)

    return Body(len(body), send())


def interleave(shares: Mapping[Kind, int]) -> list[Kind]:
    """Return each kind as often as its share, spread evenly (smooth weighted round-robin)."""
    total = sum(shares.values())
    credit = dict.fromkeys(shares, 0)
    turns: list[Kind] = []
    for _ in range(total):
        for kind, share in shares.items():
            credit[kind] += share
        turns.append(max(credit, key=credit.__getitem__))
        credit[turns[-1]] -= total
    return turns
