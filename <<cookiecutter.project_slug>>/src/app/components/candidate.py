"""A candidate for the Lease: follows its holder, takes it when it is free, leads.

The rules are those of client-go's ``leaderelection``. A follower only observes whether
the Lease changes, by its own clock: a Lease that has not changed for its duration is
free. Times written by others are never compared.

The leader counts from before its request, followers from when they see the change, so
the leader knows first that its time is over.
"""

import asyncio
import contextlib
import dataclasses
import math
import random
import socket
import time
import uuid

import structlog

from app.components.lease_api import ApiError, ConflictError, LeaseApi, Record, now
from app.lifecycle.kubernetes.identity import Identity
from app.lifecycle.kubernetes.leadership import Leadership
from app.lifecycle.kubernetes.singletons import Clock
from app.lifecycle.settings import LeaderElection

log = structlog.get_logger(__name__)

#: Seconds for releasing the Lease at a stop.
RELEASE = 2.0
#: Longest delay between two attempts while the API fails, in seconds.
BACKOFF = 30.0
#: Longest random delay before a follower takes a free Lease, in seconds.
COURTESY = 0.1
#: After this many lost races in a row, attempts become rarer.
LOST_RACES = 5
#: Largest random share added to the time between two attempts.
JITTER = 0.2


def identity() -> str:
    """The pod's name with a suffix that is unique to this process."""
    pod = Identity.from_environment().pod or socket.gethostname()
    return f"{pod}_{uuid.uuid4().hex[:8]}"


class Candidate:
    """Campaigns for ``leadership`` with the Lease of ``api`` until the service drains."""

    def __init__(
        self,
        leadership: Leadership,
        settings: LeaderElection,
        api: LeaseApi,
        clock: Clock = time.monotonic,
    ) -> None:
        self.identity = identity()
        self._leadership = leadership
        self._settings = settings
        self._api = api
        self._clock = clock
        self._seen: Record | None = None
        self._seen_at = -math.inf
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow and lead in turns; release the Lease at the end."""
        failures = conflicts = 0
        while not self._leadership.draining.is_set():
            try:
                await self._take_turn()
                failures = conflicts = 0
            except ConflictError:  # another pod was faster
                conflicts += 1
                slow = self._backoff(0) if conflicts > LOST_RACES else 0.0
                await self._sleep(slow + random.uniform(0, COURTESY))
            except ApiError as error:
                failures += 1
                self._leadership.explain(str(error))
                await self._sleep(self._backoff(failures))
        await self._leadership.over.wait()
        if self._seen is not None and self._seen.holder == self.identity:
            await self._release(self._seen)

    async def _take_turn(self) -> None:
        if (record := await self._api.read()) is not None:
            self._see(record)
        if not self._is_free():
            await self._follow()
        elif await self._claim():
            await self._lead()

    # -- as a follower ------------------------------------------------------------------

    def _see(self, record: Record) -> None:
        if record != self._seen:
            self._seen, self._seen_at = record, self._clock()
            self._changed.set()
        self._leadership.announce(record.holder, record.transitions)

    def _expires_in(self) -> float:
        """Seconds until the Lease expires, also if it was deleted meanwhile."""
        if self._seen is None or self._seen.holder in ("", self.identity):
            return 0.0
        return self._seen_at + self._seen.seconds - self._clock()

    def _is_free(self) -> bool:
        return self._expires_in() <= 0

    async def _follow(self) -> None:
        """Return when the Lease is free or the service drains."""
        watching = asyncio.create_task(self._watch(), name="watch of the lease")
        try:
            while not self._is_free() and not self._leadership.draining.is_set():
                self._changed.clear()
                await self._sleep(self._expires_in(), self._changed)
        finally:
            watching.cancel()
            await asyncio.wait({watching})
        if not watching.cancelled():
            watching.result()
        await self._sleep(random.uniform(0, COURTESY))

    async def _watch(self) -> None:
        """Watch the Lease; poll it if it cannot be watched."""
        failures, logged = 0, ""
        while True:
            try:
                began = self._clock()
                async for record in self._api.changes():
                    self._see(record)
                    failures = 0
                if self._clock() - began > self._settings.retry_seconds:
                    continue  # the server ends watches regularly
            except ApiError as error:
                if str(error) != logged:
                    log.warning("lease cannot be watched; polling", why=str(error))
                logged = str(error)
            await asyncio.sleep(self._backoff(failures))
            try:
                if (polled := await self._api.read()) is not None:
                    self._see(polled)
                failures = 0
            except ApiError as error:
                failures += 1
                self._leadership.explain(str(error))

    # -- as the leader ------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Take or renew the Lease; return False if that was too late. Raises ConflictError.

        The term is the Lease's version when it was taken. Its number of transitions would
        start again at 0 if the Lease was deleted.
        """
        was, moment, sent = self._seen, now(), self._clock()
        mine = was is not None and was.holder == self.identity
        renews = mine and self._leadership.leads
        record = Record(
            holder=self.identity,
            seconds=self._settings.lease_seconds,
            transitions=0 if was is None else was.transitions + (not mine),
            acquired=was.acquired if was is not None and mine else moment,
            renewed=moment,
        )
        version = await self._api.write(record)
        held = self._leadership.hold(
            sent + self._settings.renew_seconds,
            sent + self._settings.lease_seconds,
            term=self._leadership.term if renews else version,
        )
        self._see(record)
        return held

    async def _lead(self) -> None:
        """Renew until the Lease is lost or no longer needed."""
        failing = ""
        while True:
            await self._sleep(self._backoff(0), self._leadership.over, in_drain=True)
            if not self._leadership.leads:
                return
            try:
                await self._claim()
                failing = ""
            except ConflictError:
                with contextlib.suppress(ApiError):
                    await self._check_holder()
            except ApiError as error:
                if not failing:
                    log.warning("lease not renewed; retrying", why=str(error))
                failing = str(error)

    async def _check_holder(self) -> None:
        """The Lease was changed by others: taken, deleted or just edited."""
        record = await self._api.read()
        if record is not None and record.holder != self.identity:
            self._leadership.lose("another pod took the lease", another_leads=True)
        if record is not None:
            self._see(record)

    async def _release(self, record: Record) -> None:
        """Release the Lease, so that others need not wait for it to expire."""
        free = dataclasses.replace(record, holder="", seconds=1, renewed=now())
        try:
            async with asyncio.timeout(RELEASE):
                try:
                    await self._api.write(free)
                except ConflictError:
                    changed = await self._api.read()
                    if changed is None or changed.holder != self.identity:
                        return
                    await self._api.write(free)
        except (ConflictError, ApiError, TimeoutError) as error:
            log.warning("lease not released; it expires by itself", why=str(error))
        else:
            self._see(free)

    # -- time ---------------------------------------------------------------------------

    def _backoff(self, failures: int) -> float:
        seconds = min(BACKOFF, self._settings.retry_seconds * 2.0 ** min(failures, 10))
        return max(seconds, self._settings.retry_seconds) * random.uniform(1, 1 + JITTER)

    async def _sleep(self, seconds: float, *until: asyncio.Event, in_drain: bool = False) -> None:
        """Sleep until one of these events, or the drain, unless ``in_drain``."""
        events = [*until] if in_drain else [*until, self._leadership.draining]
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
