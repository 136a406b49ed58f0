"""Clients of a registry: they connect only to instances that they have read there."""

import http.client
import random
import threading
from collections import Counter

from tests.registry.fake import Fake

Address = tuple[str, int]


class Client:
    """Reads the registry every ``interval`` seconds, and sends a request every ``pause`` seconds.

    The requests go to the addresses of the last reading, at random. ``keep_alive``: on one
    connection for each address, which is opened again where the response says that it ends.
    """

    def __init__(
        self, registry: Fake, *, interval: float, pause: float, keep_alive: bool = False
    ) -> None:
        self.sent: Counter[int] = Counter()
        self.lost: list[str] = []
        self._registry, self._interval, self._pause = registry, interval, pause
        self._keep_alive = keep_alive
        self._addresses: list[Address] = []
        self._connections: dict[Address, http.client.HTTPConnection] = {}
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._read, self._send)
        ]

    def __enter__(self) -> "Client":
        self._addresses = sorted(self._registry.readers())
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        for connection in self._connections.values():
            connection.close()

    def _read(self) -> None:
        pause = random.uniform(0, self._interval)  # clients do not read all at once
        while not self._end.wait(pause):
            self._addresses = sorted(self._registry.readers())
            pause = self._interval

    def _send(self) -> None:
        while not self._end.wait(self._pause):
            if not self._addresses:
                self.lost.append("the registry lists nobody")
                continue
            address = random.choice(self._addresses)
            self.sent[address[1]] += 1
            try:
                self._request(address)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(f"{address[1]}: {error!r}")
                self._connections.pop(address, None)

    def _request(self, address: Address) -> None:
        connection = self._connections.get(address) or http.client.HTTPConnection(
            *address, timeout=10
        )
        connection.request("GET", "/hello")
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            self.lost.append(f"{address[1]}: status {response.status}")
        if self._keep_alive and not response.will_close:
            self._connections[address] = connection
        else:
            self._connections.pop(address, None)
            connection.close()
