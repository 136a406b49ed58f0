"""A write-behind buffer: takes items at once, and gives them to a slow sink in batches.

For what may be late, such as events and measurements. Work that was promised to a client belongs
into the outbox, which commits together with the request's transaction.
"""

import asyncio
import contextlib
import json
import random
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from app.observability.metrics import Labels, Metric
from app.work.batches import Batches, Queued
from app.work.errors import Busy, Rejected
from app.work.keeper import Keeper
from app.work.spill import CORRUPT, REJECTED, Corrupt, Folder

log = structlog.get_logger(__name__)

#: Parts of the interval after which items go to the sink, and to disk if it has not taken them.
TO_SINK, TO_DISK = 0.5, 0.75
#: Seconds between two attempts of the sink: the first pause, the longest, the longest of a stop.
FIRST_PAUSE, LONGEST_PAUSE, LONGEST_AT_STOP = 0.1, 30.0, 0.5


@dataclass(frozen=True, slots=True)
class Batch:
    """Items for the sink. The ``id`` stays the same in every attempt, after a restart too."""

    id: str
    items: list[Any]


@dataclass(eq=False)
class Buffer:
    """Accepts items and flushes them; ``open`` makes it a component.

    ``flush`` stores a batch. If one was interrupted, its batch comes again with the same id, so
    store the ids too, or give each item a key. When it raises, the batch is tried again later,
    after the others; on ``Rejected`` it is set aside.

    An item is only in memory for ``interval`` seconds: that much is lost by ``kill -9``. What the
    sink has not taken by then is written to ``folder``, which no other process may use, and the
    next process that opens it flushes it.

    ``size`` items fit into memory and ``disk_bytes`` on disk; then ``put`` refuses. ``batch`` is
    the largest number of items of a flush, ``timeout`` the seconds that it may take.
    """

    name: str
    flush: Callable[[Batch], Awaitable[object]]
    folder: Path
    size: int = 10_000
    interval: float = 1.0
    batch: int = 500
    timeout: float = 10.0
    disk_bytes: int = 64 * 2**20
    #: Gets a line for the report of the stop if items are lost.
    on_lost: Callable[[str], object] = field(default=lambda _: None, repr=False)

    def __post_init__(self) -> None:
        if min(self.size, self.batch, self.disk_bytes) < 1 or min(self.interval, self.timeout) <= 0:
            raise ValueError(
                f"buffer {self.name!r}: size, batch and disk_bytes must be at least 1, interval "
                "and timeout above 0 seconds"
            )
        self.accepted = self.refused = self.flushed = self.failures = 0
        self.recovered = self.set_aside = 0
        self._batches = Batches()
        self._folder = Folder(self.folder)
        self._keeper = Keeper(
            self.name,
            self._batches,
            self._folder,
            after=self.interval * TO_DISK,
            crowded=self.size / 2,
            most=self.disk_bytes,
        )
        self._fresh: list[str] = []
        self._fresh_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        #: Whether items are accepted.
        self._accepts = False

    def put(self, item: Any) -> None:
        """Accept ``item``, anything that JSON can express; from any thread.

        Raises Busy if there is no room or the buffer is not open: clients see 503. Raises
        TypeError or ValueError for what is no JSON.
        """
        line = json.dumps(item, allow_nan=False, separators=(",", ":"))
        if threading.get_ident() == self._thread:
            self._put(line)
        elif self._accepts and self._loop is not None:
            asyncio.run_coroutine_threadsafe(self._put_from_thread(line), self._loop).result()
        else:
            raise Busy(f"the buffer {self.name} is not open")

    async def _put_from_thread(self, line: str) -> None:
        self._put(line)

    def _put(self, line: str) -> None:
        if not self._accepts or self._loop is None:
            raise Busy(f"the buffer {self.name} is not open")
        if self._in_memory() >= self.size:
            self.refused += 1
            raise Busy(f"the buffer {self.name} is full")
        if not self._fresh:
            self._fresh_since = time.monotonic()
            self._timer = self._loop.call_later(self.interval * TO_SINK, self._cut)
        self._fresh.append(line)
        self.accepted += 1
        if len(self._fresh) >= self.batch:
            self._cut()

    def _cut(self) -> None:
        """Make a batch of the fresh items."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._fresh:
            lines, self._fresh = self._fresh, []
            self._batches.add(lines, self._fresh_since)

    def _in_memory(self) -> int:
        return len(self._fresh) + self._batches.memory

    def oldest(self) -> float:
        """Age in seconds of the oldest item that the sink has not taken; 0 if there is none."""
        since = self._batches.oldest() or (self._fresh_since if self._fresh else None)
        return 0.0 if since is None else max(0.0, time.monotonic() - since)

    def status(self) -> dict[str, object]:
        """The fields of ``/statusz``; from any thread."""
        return {
            "in_memory": self._in_memory(),
            "on_disk": self._batches.disk,
            "oldest_seconds": round(self.oldest(), 3),
            "disk_fails": self._keeper.failing,
            **self._counts(),
        }

    def families(self) -> list[Metric]:
        """Its metrics; from any thread."""
        label = {"buffer": self.name}
        places: list[tuple[Labels, float]] = [
            ({**label, "place": "memory"}, self._in_memory()),
            ({**label, "place": "disk"}, self._batches.disk),
        ]
        counts: list[tuple[Labels, float]] = [
            ({**label, "outcome": outcome}, count) for outcome, count in self._counts().items()
        ]
        failures: list[tuple[Labels, float]] = [(label, self.failures)]
        age: list[tuple[Labels, float]] = [(label, self.oldest())]
        return [
            Metric("app_buffer_items", "gauge", "Items that the sink has not taken.", places),
            Metric("app_buffer_oldest_seconds", "gauge", "Age of the oldest of them.", age),
            Metric("app_buffer_items_total", "counter", "Items by what happened to them.", counts),
            Metric("app_buffer_flush_failures_total", "counter", "Flushes that failed.", failures),
        ]

    def _counts(self) -> dict[str, int]:
        return {
            "accepted": self.accepted,
            "refused": self.refused,
            "flushed": self.flushed,
            "spilled": self._keeper.spilled,
            "recovered": self.recovered,
            "set_aside": self.set_aside,
            "lost": self._keeper.lost,
        }

    @contextlib.asynccontextmanager
    async def open(self, *_: object) -> AsyncIterator["Buffer"]:
        """Flush what an earlier process left, then what comes; at the end, all that is left.

        If it is cancelled before it has done so, the rest stays on disk. Raises StartError if
        the folder cannot be used.
        """
        await asyncio.to_thread(self._folder.open)
        try:
            for kept in await asyncio.to_thread(self._folder.recover):
                self._batches.recover(kept.id, kept.items, kept.bytes)
                self.recovered += kept.items
            if self.recovered:
                log.info("buffer found items on disk", buffer=self.name, items=self.recovered)
            self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._flush_forever(), name=f"buffer {self.name}: flush"),
                    group.create_task(self._keeper.run(), name=f"buffer {self.name}: disk"),
                ]
                try:
                    self._accepts = True
                    yield self
                finally:
                    await self._finish(tasks)
        finally:
            self._folder.close()

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        self._accepts, self._keeper.stopped_at = False, time.monotonic()
        self._cut()
        self._batches.notify()
        try:
            while self._batches and not any(task.done() for task in tasks):
                await self._batches.change(1)
            await self._keeper.settle()
        finally:  # first of all: cancelled tasks may take longer than there is time
            for task in tasks:
                task.cancel()
            self._keeper.close()
            where = {"folder": str(self.folder)}
            if left := self._batches.disk:
                log.warning("buffer left items on disk", buffer=self.name, items=left, **where)
            if lost := self._keeper.lost:
                log.error("buffer lost items", buffer=self.name, items=lost)
                self.on_lost(f"{lost} items of the buffer {self.name}")

    async def _flush_forever(self) -> None:
        failures = 0
        while True:
            if not self._batches:
                await self._batches.change()
                continue
            try:
                await self._flush(self._batches.first())
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                failures += 1
                self.failures += 1
                if failures == 1:
                    log.warning("buffer cannot flush", buffer=self.name, exc_info=error)
                self._batches.rotate()  # one that always fails must not stop the others
                await self._pause(failures)
            else:
                if failures:
                    log.info("buffer flushes again", buffer=self.name, failures=failures)
                failures = 0

    async def _flush(self, batch: Queued) -> None:
        try:
            lines = batch.lines
            if lines is None:
                lines = await asyncio.to_thread(self._folder.read, batch.id)
        except Corrupt as error:
            await self._give_up(batch, CORRUPT, str(error))
            return
        items = [json.loads(line) for line in lines]
        try:
            async with asyncio.timeout(self.timeout):
                await self.flush(Batch(batch.id, items))
        except Rejected as error:
            await self._give_up(batch, REJECTED, f"rejected: {error}")
            return
        self.flushed += batch.count
        self._batches.forget(batch)
        if batch.bytes:
            await self._in_thread(self._folder.remove, batch.id)

    async def _give_up(self, batch: Queued, why: str, reason: str) -> None:
        """Leave ``batch`` on disk for a person to look at."""
        if batch.lines is not None:  # not under its own name, which the keeper may be writing
            await asyncio.to_thread(self._folder.write, batch.id, batch.lines, why)
            await self._in_thread(self._folder.remove, batch.id)
        await self._in_thread(self._folder.set_aside, batch.id, why, reason)
        self.set_aside += batch.count
        self._batches.forget(batch)

    async def _in_thread(self, change: Callable[..., None], *arguments: str) -> None:
        """Change the folder; if that fails, the next process flushes the batch once more."""
        try:
            await asyncio.to_thread(change, *arguments)
        except OSError as error:
            self._keeper.failed(error)

    async def _pause(self, failures: int) -> None:
        """Wait before the next attempt; not as long during a stop."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 16))
        end = time.monotonic() + longest * random.uniform(0.5, 1)
        while (left := end - time.monotonic()) > 0:
            if self._keeper.stopping:
                await asyncio.sleep(min(left, LONGEST_AT_STOP))
                return
            await self._batches.change(left)
