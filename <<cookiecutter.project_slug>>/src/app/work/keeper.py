"""Writes what the sink has not taken in time to disk, and what is left at the end."""

import asyncio
import math
import time
from dataclasses import dataclass, field

import structlog

from app.work.batches import Batches, Queued
from app.work.spill import Folder

log = structlog.get_logger(__name__)

#: Seconds after which a batch goes to disk once the buffer stops.
AT_STOP = 0.25
#: Seconds between two attempts to write to a disk that fails.
PAUSE = 1.0


@dataclass(eq=False)
class Keeper:
    """Moves batches from memory to ``folder``.

    That happens ``after`` seconds, at once if more than ``crowded`` items are in memory, and
    never beyond ``most`` bytes.
    """

    name: str
    batches: Batches
    folder: Folder
    after: float
    crowded: float
    most: int
    #: Items written to disk, and lost because that failed.
    spilled: int = 0
    lost: int = 0
    #: Whether the last attempt to write failed.
    failing: bool = False
    #: When the stop began; infinite before.
    stopped_at: float = math.inf
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def stopping(self) -> bool:
        return self.stopped_at < math.inf

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            batch = self.batches.only_in_memory()
            if batch is None or self.batches.bytes >= self.most:
                await self.batches.change()
            elif (left := self._due(batch) - time.monotonic()) > 0:
                await self.batches.change(left)
            else:
                await self._keep(batch)

    def _due(self, batch: Queued) -> float:
        if self.batches.memory > self.crowded:
            return 0.0
        return min(batch.since + self.after, self.stopped_at + AT_STOP)

    async def settle(self) -> None:
        """Return once nothing is being written."""
        async with self._writing:
            pass

    async def _keep(self, batch: Queued) -> None:
        async with self._writing:
            written = await self._write(batch)
        if not written:
            await asyncio.sleep(PAUSE)

    async def _write(self, batch: Queued) -> bool:
        try:
            size = await asyncio.to_thread(self.folder.write, batch.id, batch.lines or [])
        except OSError as error:
            self.failed(error)
            return False
        self.failing = False
        if batch.done:  # meanwhile
            await asyncio.to_thread(self.folder.remove, batch.id)
        else:
            self.batches.to_disk(batch, size)
            self.spilled += batch.count
        return True

    def close(self) -> None:
        """Write what is only in memory; blocks, since there may be no time to wait for a thread."""
        while batch := self.batches.only_in_memory():
            try:
                size = self.folder.write(batch.id, batch.lines or [])
            except OSError as error:
                self.failed(error)
                self.lost += batch.count
                self.batches.forget(batch)
            else:
                self.batches.to_disk(batch, size)
                self.spilled += batch.count

    def failed(self, error: OSError) -> None:
        """Log it, once until a write succeeds."""
        if not self.failing:
            self.failing = True
            log.error(
                "buffer cannot write to disk",
                buffer=self.name,
                folder=str(self.folder.path),
                reason=error.strerror or str(error),
                only_in_memory=self.batches.memory,
            )
