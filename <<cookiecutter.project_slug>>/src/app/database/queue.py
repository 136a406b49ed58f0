"""The queue of a pool: who waits for a connection, for how long, and who is refused."""

import time
from typing import Any, cast

from sqlalchemy import exc
from sqlalchemy.pool import AsyncAdaptedQueuePool, ConnectionPoolEntry
from sqlalchemy.pool.base import _ConnectionRecord

from app.database.errors import Unavailable
from app.observability.histogram import Series

#: Upper bounds of the times of a pool, in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class PoolTimeoutError(exc.TimeoutError):
    """No connection came back in time; the message says what to do."""


class Queue(AsyncAdaptedQueuePool):
    """SQLAlchemy's pool of an asyncio engine, with numbers and a door that can be closed.

    A connect that fails wakes the next in the queue, which SQLAlchemy's own leaves waiting until
    its timeout although a slot is free.
    """

    #: How many wait for a connection, and how many waited in vain.
    pending = 0
    timeouts = 0
    #: Why nobody gets a connection any more; empty: everybody does.
    closed = ""
    #: Seconds that it took to get one.
    waits: Series | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: What nobody has borrowed, also without a connection.
        self.idle: set[ConnectionPoolEntry] = set()

    def close(self, reason: str) -> None:
        """Refuse everybody from now on, those too who wait."""
        self.closed = reason
        for _ in range(self.pending):
            self._do_return_conn(_ConnectionRecord(self, connect=False))

    def recreate(self) -> "Queue":
        made = cast(Queue, super().recreate())
        made.closed, made.waits = self.closed, self.waits
        made.timeouts = self.timeouts
        return made

    def _do_get(self) -> ConnectionPoolEntry:
        record = self._wait() if self.checkedout() >= self.size() else self._take()
        self.idle.discard(record)
        return record

    def _take(self) -> ConnectionPoolEntry:
        if self.closed:
            raise Unavailable(self.closed)
        if self.waits is not None:
            self.waits.counts[0] += 1
        return super()._do_get()

    def _wait(self) -> ConnectionPoolEntry:
        if self.closed:
            raise Unavailable(self.closed)
        self.pending += 1
        began = time.monotonic()
        try:
            record = super()._do_get()
        except exc.TimeoutError:
            self.timeouts += 1
            raise PoolTimeoutError(
                f"all {self.size()} connections were in use for {self.timeout():g} s: raise "
                "APP_DATABASE__POOL_SIZE, or find who holds them with /statusz"
            ) from None
        finally:
            self.pending -= 1
            if self.waits is not None:
                self.waits.observe(time.monotonic() - began)
        if self.closed:
            self._do_return_conn(record)
            raise Unavailable(self.closed)
        return record

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        self.idle.add(record)
        super()._do_return_conn(record)

    def _create_connection(self) -> ConnectionPoolEntry:
        # Connected by its borrower. If that fails it goes back to the queue, and wakes the next.
        return _ConnectionRecord(self, connect=False)
