"""Clients that write notes all the time, and what became of each."""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from dev.postgres import query
from tests.harness import HOST, Service
from tests.wire import Connection, Response

#: Seconds between two requests of a client.
PACE = 0.01


@dataclass(frozen=True)
class Sent:
    """A request: when it began, how long it took, what came back."""

    title: str
    at: float
    seconds: float
    answer: Response

    @property
    def status(self) -> int:
        return self.answer.status


@dataclass
class Load:
    """What was sent so far."""

    sent: list[Sent] = field(default_factory=list)

    def since(self, at: float, until: float = float("inf")) -> list[Sent]:
        """The requests that began in this time."""
        return [one for one in self.sent if at <= one.at < until]

    def stored_once(self, database: str) -> None:
        """Each 201 is one row, and nothing else is in the table but what had an unknown outcome."""
        rows = query(database, "SELECT title, count(*) FROM notes GROUP BY title")
        counts = {title: int(count) for title, count in rows}
        assert set(counts.values()) <= {1}
        accepted = {one.title for one in self.sent if one.status == 201}
        refused = {one.title for one in self.sent if one.status == 503}
        assert accepted - set(counts) == set(), "answered 201, but not there"
        assert refused & set(counts) == set(), "answered 503, but there"


@contextlib.contextmanager
def load(service: Service, clients: int = 8, **headers: str) -> Iterator[Load]:
    """``clients`` send until the end of the block."""
    found, over = Load(), threading.Event()

    def client() -> None:
        with Connection(HOST, service.port) as connection:
            while not over.wait(PACE):
                title = uuid.uuid4().hex
                body = json.dumps({"title": title}).encode()
                at = time.monotonic()
                answer = connection.post("/notes", body, **headers)
                found.sent.append(Sent(title, at, time.monotonic() - at, answer))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join()
