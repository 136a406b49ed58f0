"""A stop loses nothing and is on time, whatever clients may take and how many are served."""

import threading
from dataclasses import dataclass, field

import pytest

from tests.conftest import Start
from tests.harness import HOST, eventually
from tests.wire import Connection

LIMIT = 10
LEAST = {
    "APP_KEEP_ALIVE_SECONDS": "1",
    "APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS": "1",
    "APP_REQUESTS__HEADER_SECONDS": "1",
    "APP_REQUESTS__HEADER_BYTES": "1024",
    "APP_REQUESTS__STALL_SECONDS": "1",
    "APP_REQUESTS__LEAST_RATE": "0",
    "APP_REQUESTS__TIMEOUT_SECONDS": "0.001",
    "APP_REQUESTS__MAX_IN_FLIGHT": "1",
    "APP_REQUESTS__QUEUE": "0",
    "APP_REQUESTS__QUEUE_SECONDS": "0.001",
}
GREATEST = {
    "APP_KEEP_ALIVE_SECONDS": "7200",
    "APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS": "7200",
    "APP_REQUESTS__HEADER_SECONDS": "3600",
    "APP_REQUESTS__HEADER_BYTES": str(16 * 1024 * 1024),
    "APP_REQUESTS__STALL_SECONDS": "3600",
    "APP_REQUESTS__LEAST_RATE": "1e308",
    "APP_REQUESTS__TIMEOUT_SECONDS": str(LIMIT),
    "APP_REQUESTS__MAX_IN_FLIGHT": "100000",
    "APP_REQUESTS__QUEUE": "10000",
    "APP_REQUESTS__QUEUE_SECONDS": "60",
}
FEWEST = {"APP_REQUESTS__MAX_CONNECTIONS": "1"}
#: These make no difference alone.
WITH_OTHERS = {
    "APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS",
    "APP_REQUESTS__QUEUE",
    "APP_REQUESTS__QUEUE_SECONDS",
}
EXTREMES = [
    *({name: LEAST[name]} for name in LEAST if name not in WITH_OTHERS),
    *({name: GREATEST[name]} for name in GREATEST if name not in WITH_OTHERS),
    LEAST,
    GREATEST,
    FEWEST,
    FEWEST | LEAST,
    {"APP_REQUESTS__TIMEOUT_SECONDS": "0"},
    {"APP_REQUESTS__STALL_SECONDS": "1", "APP_REQUESTS__LEAST_RATE": "1e308"},
]


def named(settings: dict[str, str]) -> str:
    pairs = [f"{name.removeprefix('APP_')}={value}" for name, value in settings.items()]
    return " ".join(pairs if len(pairs) < 3 else [pairs[0], f"and {len(pairs) - 1} others"])


@dataclass
class Client:
    """Requests in turn over a connection that it keeps for as long as the service does."""

    port: int
    ends: threading.Event
    statuses: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    told_to_close: int = 0

    def run(self) -> None:
        connection: Connection | None = None
        while not self.ends.wait(0.02):
            try:
                connection = connection or Connection(HOST, self.port)
            except OSError:
                return  # the listener is closed: nobody's request
            if self._ask(connection):
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: Connection) -> bool:
        """Whether the connection must not be used again."""
        try:
            if len(self.statuses) % 2:
                response = connection.post("/body", b"x" * 1000)
            else:
                response = connection.get("/hello")
        except OSError as error:
            self.lost.append(repr(error))
            return True
        self.statuses.append(response.status)
        self.told_to_close += response.closes
        return response.closes


@pytest.mark.parametrize("settings", EXTREMES, ids=named)
def test_a_stop_under_load(serve: Start, settings: dict[str, str]) -> None:
    service = serve("tests.apps.edge", APP_SHUTDOWN__LIMIT_SECONDS=str(LIMIT), **settings)
    ends = threading.Event()
    at_once = int(settings.get("APP_REQUESTS__MAX_CONNECTIONS", 3))
    clients = [Client(service.port, ends) for _ in range(at_once)]
    threads = [threading.Thread(target=client.run) for client in clients]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: all(len(c.statuses) > 5 for c in clients), "requests to be answered")
        service.drain()
        eventually(lambda: all(c.told_to_close > 3 for c in clients), "clients to hear of it")
    finally:
        ends.set()  # the router knows of the stop
        for thread in threads:
            thread.join()
    assert service.ended() == 0
    assert [loss for client in clients for loss in client.lost] == []
    assert {status for client in clients for status in client.statuses} <= {200, 503, 504}
    report = service.report
    assert report["cut"] == []
    assert report["seconds"]["total"] < LIMIT
