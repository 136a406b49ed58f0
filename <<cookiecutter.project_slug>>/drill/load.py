"""The clients: an open loop of requests, each kind in its share.

Open loop: a request is due when the rate says so, whether or not earlier ones
have been answered, as it is with users who do not know of each other.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from drill.client import Answer, Connection, Upload
from drill.ledger import Kind
from drill.loss import Lost, Reason
from drill.traffic import KeptClient, Routes, Traffic

SHARES = {Kind.NEW: 10, Kind.KEPT: 4, Kind.CHECKED: 3, Kind.SLOW: 1, Kind.UPLOAD: 1, Kind.JOB: 1}

#: Requests a second of one kept connection.
#:
#: A connection that stays idle for longer than the service waits for quiet cannot
#: be told to close: HTTP/1.1 has no words for it between two answers. Clients
#: that reuse such a connection unchecked lose requests to any server.
KEPT_RATE = 3.0


class Load:
    """Requests at ``rate`` a second until stopped, each on its own task."""

    def __init__(self, traffic: Traffic, rate: float, tasks: asyncio.TaskGroup) -> None:
        #: How far the drill itself ever fell behind its own schedule.
        self.late = 0.0
        self._traffic = traffic
        self._rate = rate
        self._tasks = tasks
        self._flying: set[asyncio.Task[None]] = set()
        self._kept = {
            Kind.KEPT: self._clients(Kind.KEPT, checks=False),
            Kind.CHECKED: self._clients(Kind.CHECKED, checks=True),
        }
        self._turns = {kind: itertools.cycle(clients) for kind, clients in self._kept.items()}
        self._send: dict[Kind, Callable[[Sent], Awaitable[Answer]]] = {
            Kind.NEW: lambda sent: self._once(sent, "GET", self._traffic.routes.plain),
            Kind.SLOW: lambda sent: self._once(sent, "GET", self._traffic.routes.slow),
            Kind.UPLOAD: self._upload,
            Kind.JOB: self._job,
            Kind.KEPT: self._reuse,
            Kind.CHECKED: self._reuse,
        }

    async def run(self) -> None:
        """Sends until cancelled; what is in flight then goes on, see ``finish``."""
        kinds = itertools.cycle(interleave(SHARES))
        began = self._traffic.clock()
        for number, kind in enumerate(kinds):
            due = began + number / self._rate
            if (wait := due - self._traffic.clock()) > 0:
                await asyncio.sleep(wait)
            self.late = max(self.late, self._traffic.clock() - due)
            task = self._tasks.create_task(self._attempt(Sent(kind, due)))
            self._flying.add(task)
            task.add_done_callback(self._flying.discard)

    async def finish(self) -> None:
        """Waits for what is in flight, then closes the kept connections."""
        if self._flying:
            await asyncio.wait(self._flying)
        for client in itertools.chain(*self._kept.values()):
            client.close()

    def _clients(self, kind: Kind, *, checks: bool) -> list[KeptClient]:
        rate = self._rate * SHARES[kind] / sum(SHARES.values())
        count = max(1, round(rate / KEPT_RATE))
        return [KeptClient(self._traffic, checks=checks) for _ in range(count)]

    async def _attempt(self, sent: "Sent") -> None:
        ledger = self._traffic.ledger
        try:
            await self._send[sent.kind](sent)
        except Lost as lost:
            ledger.lost(sent.kind, sent.pod, sent.due, lost)
        else:
            ledger.served(sent.kind, sent.pod, sent.due)

    async def _reuse(self, sent: "Sent") -> Answer:
        client = next(self._turns[sent.kind])
        target = self._traffic.routes.plain
        try:
            answer = await client.get(target)
        finally:
            sent.pod = client.pod
        self._traffic.expect_success(target, answer.head.status)
        return answer

    async def _job(self, sent: "Sent") -> Answer:
        routes = self._traffic.routes
        body = json.dumps({"seconds": routes.job_seconds, "note": "drill"}).encode()
        return await self._accepted(sent, body)

    async def _upload(self, sent: "Sent") -> Answer:
        routes = self._traffic.routes
        body = json.dumps({"seconds": 0, "note": "drill upload"}).encode()
        padded = body.ljust(routes.upload_octets)  # white space, so that it is valid anywhere
        return await self._accepted(sent, Upload(len(padded), trickle(padded, routes)))

    async def _accepted(self, sent: "Sent", body: bytes | Upload) -> Answer:
        answer = await self._once(sent, "POST", self._traffic.routes.jobs, body)
        try:
            self._traffic.ledger.accepted(str(answer.json()["id"]), sent.pod)
        except (ValueError, TypeError, KeyError) as error:
            raise Lost(Reason.MALFORMED, "no job id") from error
        return answer

    async def _once(
        self, sent: "Sent", method: str, target: str, body: bytes | Upload = b""
    ) -> Answer:
        endpoint = self._traffic.pick()
        sent.pod = endpoint.pod
        connection = await Connection.open(endpoint.host, endpoint.port)
        try:
            answer = await connection.request(method, target, body, Connection="close")
        finally:
            connection.close()
        self._traffic.expect_success(target, answer.head.status)
        return answer


@dataclass
class Sent:
    """A request under way; ``pod`` is known once it has picked one."""

    kind: Kind
    due: float
    pod: str = ""


async def trickle(body: bytes, routes: Routes, parts: int = 8) -> AsyncIterator[bytes]:
    size = -(-len(body) // parts)
    for at in range(0, len(body), size):
        yield body[at : at + size]
        await asyncio.sleep(routes.upload_seconds / parts)


def interleave(shares: dict[Kind, int]) -> list[Kind]:
    """Each kind as often as its share, spread as nginx spreads weighted servers."""
    total = sum(shares.values())
    credit = dict.fromkeys(shares, 0)
    turns: list[Kind] = []
    for _ in range(total):
        for kind, share in shares.items():
            credit[kind] += share
        turns.append(max(credit, key=credit.__getitem__))
        credit[turns[-1]] -= total
    return turns
