"""The batches that a buffer has in memory and on disk, in the order in which they are flushed."""

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(eq=False, slots=True)
class Queued:
    """A batch that the sink has not taken."""

    id: str
    count: int
    #: When its first item came, on the monotonic clock.
    since: float
    #: One JSON document per item; None if they are only on disk.
    lines: list[str] | None
    #: Size of its file; 0 if it is not on disk.
    bytes: int = 0
    done: bool = False


class Batches:
    """A queue that counts. Changed by the event loop, read by any thread."""

    def __init__(self) -> None:
        self._queue: deque[Queued] = deque()
        self._in_memory: deque[Queued] = deque()
        #: Items in memory, items on disk, and bytes there.
        self.memory = self.disk = self.bytes = 0
        # Replaced whenever something happens that somebody may wait for.
        self._changed = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __iter__(self) -> Iterator[Queued]:
        return iter(list(self._queue))

    def first(self) -> Queued:
        return self._queue[0]

    def add(self, lines: list[str], since: float) -> None:
        """Append a new batch. Ids sort by time."""
        identity = f"{time.time_ns():020d}-{uuid.uuid4().hex[:12]}"
        batch = Queued(identity, len(lines), since, lines)
        self._queue.append(batch)
        self._in_memory.append(batch)
        self.memory += batch.count
        self.notify()

    def recover(self, identity: str, count: int, size: int) -> None:
        """Append a batch that an earlier process has left on disk."""
        age = max(0.0, time.time() - int(identity.partition("-")[0]) / 1e9)
        self._queue.append(Queued(identity, count, time.monotonic() - age, None, size))
        self.disk += count
        self.bytes += size

    def only_in_memory(self) -> Queued | None:
        """The oldest batch that is not on disk."""
        return self._in_memory[0] if self._in_memory else None

    def to_disk(self, batch: Queued, size: int) -> None:
        """``batch`` is on disk now, and no longer in memory."""
        self._in_memory.remove(batch)
        self.memory -= batch.count
        batch.lines, batch.bytes = None, size
        self.disk += batch.count
        self.bytes += size
        self.notify()

    def forget(self, batch: Queued) -> None:
        """``batch`` needs no flush any more."""
        batch.done = True
        self._queue.remove(batch)
        if batch.lines is not None:
            self._in_memory.remove(batch)
            self.memory -= batch.count
        if batch.bytes:
            self.disk -= batch.count
            self.bytes -= batch.bytes
        self.notify()

    def rotate(self) -> None:
        """Put the first batch behind all others."""
        self._queue.rotate(-1)

    def oldest(self) -> float | None:
        """When the oldest item came, on the monotonic clock."""
        return min((one.since for one in self), default=None)

    def notify(self) -> None:
        """Wake who waits for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self, seconds: float | None = None) -> None:
        """Wait until something changes, for at most this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
