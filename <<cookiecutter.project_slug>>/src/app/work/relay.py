"""The relay: hands the messages of the outbox to their handlers, in every pod."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.errors import described
from app.database.pool import Pool
from app.database.settings import Outbox
from app.observability.metrics import Labels, Metric, gauge
from app.work import claims, outbox
from app.work.errors import Rejected
from app.work.outbox import Message

log = structlog.get_logger(__name__)

Handler = Callable[[Message, AsyncSession], Awaitable[object]]

#: Seconds between two attempts to reach a database that is away; longest.
LONGEST_PAUSE = 5.0
#: Seconds between two counts, and between two clean-ups.
COUNT, CLEAN = 10.0, 60.0


class Relay:
    """Calls ``handlers`` by topic; ``open`` makes it a component that depends on the pool.

    A handler gets the message and a session whose transaction also marks it as done: changes in
    it are made once. Everything else happens at least once, so pass ``message.id`` on as an
    idempotency key. A handler that raises is tried again, with growing pauses; on ``Rejected``,
    or after too many attempts, the message is dead. It keeps a connection while it runs, so
    it should take seconds: longer work belongs into a task queue.

    There is no leader: rows that another pod works on are skipped. Messages of this process are
    found at once, the others by polling; NOTIFY would make all commits wait for each other.

    ``draining`` returns when no more messages may be begun.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        settings: Outbox,
        draining: Callable[[], Awaitable[object]],
    ) -> None:
        self._handlers = dict(handlers)
        self._settings = settings
        self._draining = draining
        self._stops = False
        self._wake = asyncio.Event()
        self._running: dict[asyncio.Task[None], tuple[Message, float]] = {}
        #: Attempts by topic and outcome.
        self.outcomes: Counter[tuple[str, str]] = Counter()
        #: In the whole outbox, as last counted; None: not yet.
        self.found: tuple[int, int, float] | None = None

    @contextlib.asynccontextmanager
    async def open(self, pool: Pool) -> AsyncIterator["Relay"]:
        """Relay until the drain; at the end, wait for the handlers that run."""
        outbox.on_commit.append(self._wake.set)
        try:
            async with asyncio.TaskGroup() as group:
                loops = [
                    group.create_task(self._stop_when_draining(), name="outbox: wait for a drain"),
                    group.create_task(self._relay(pool, group), name="outbox: relay"),
                    group.create_task(self._keep_house(pool), name="outbox: clean up"),
                ]
                try:
                    yield self
                    self._stop()
                    await loops[1]
                    if self._running:
                        await asyncio.wait(set(self._running))
                finally:
                    for task in (*loops, *self._running):
                        task.cancel("the service stops")
        finally:
            outbox.on_commit.remove(self._wake.set)

    def status(self) -> dict[str, object]:
        """The fields of ``/statusz``; from any thread."""
        now = time.monotonic()
        pending, dead, overdue = self.found or (None, None, None)
        outcomes = {f"{topic}: {how}": n for (topic, how), n in sorted(self._outcomes())}
        running = [
            f"{one.topic} {one.id}, attempt {one.attempt}, {now - since:.1f} s"
            for one, since in list(self._running.values())
        ]
        known = {"pending": pending, "dead": dead, "overdue_seconds": overdue}
        return {**known, "running": running, **outcomes}

    def families(self) -> list[Metric]:
        """Its metrics; from any thread."""
        outcomes: list[tuple[Labels, float]] = [
            ({"topic": topic, "outcome": how}, n) for (topic, how), n in sorted(self._outcomes())
        ]
        families = [
            gauge("app_outbox_running", "Messages that this pod handles now.", len(self._running)),
            Metric("app_outbox_attempts_total", "counter", "Attempts of this pod.", outcomes),
        ]
        if self.found is not None:
            pending, dead, overdue = self.found
            counts: list[tuple[Labels, float]] = [
                ({"state": "pending"}, pending),
                ({"state": "dead"}, dead),
            ]
            meaning = f"Messages of all pods, up to {claims.COUNTED} of each state."
            families += [
                Metric("app_outbox_messages", "gauge", meaning, counts),
                gauge("app_outbox_overdue_seconds", "How long the oldest has been due.", overdue),
            ]
        return families

    def _outcomes(self) -> list[tuple[tuple[str, str], int]]:
        return list(self.outcomes.copy().items())

    def _stop(self) -> None:
        self._stops = True
        self._wake.set()

    async def _stop_when_draining(self) -> None:
        await self._draining()
        self._stop()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()

    async def _relay(self, pool: Pool, group: asyncio.TaskGroup) -> None:
        failures = 0
        while not self._stops:
            free = self._settings.concurrency - len(self._running)
            if free <= 0:
                await asyncio.wait(set(self._running), return_when=asyncio.FIRST_COMPLETED)
                continue
            try:
                pool.breaker.check()
                async with pool.sessions.begin() as session:
                    claimed = await claims.claim(session, list(self._handlers), free)
            except Exception as error:
                failures += 1
                if failures == 1:
                    log.warning("outbox cannot be read", error=described(error))
                pause = min(LONGEST_PAUSE, 0.1 * 2 ** min(failures, 10))
                await self._wait(pause * random.uniform(0.5, 1))
                continue
            if failures:
                log.info("outbox can be read again", failures=failures)
            failures = 0
            for message in claimed:
                name = f"outbox: {message.topic} {message.id}"
                task = group.create_task(self._attempt(pool, message), name=name)
                self._running[task] = (message, time.monotonic())
                task.add_done_callback(lambda done: self._running.pop(done))
            if len(claimed) < free:
                await self._wait(self._settings.poll_seconds * random.uniform(0.8, 1.2))

    async def _attempt(self, pool: Pool, message: Message) -> None:
        seconds = self._settings.timeout_seconds
        try:
            async with asyncio.timeout(seconds), pool.sessions.begin() as session:
                if not await claims.lock(session, message, 2 * seconds):
                    return
                if message.attempt > self._settings.attempts:
                    raise Rejected("every attempt ended without a result, such as by a kill")
                await self._handlers[message.topic](message, session)
                await claims.finish(session, message)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            await self._failed(pool, message, error)
        else:
            self.outcomes[message.topic, "done"] += 1

    async def _failed(self, pool: Pool, message: Message, error: BaseException) -> None:
        dead = isinstance(error, Rejected) or message.attempt >= self._settings.attempts
        if isinstance(error, TimeoutError) and not str(error):
            error = TimeoutError(f"it took more than {self._settings.timeout_seconds:g} s")
        text = f"{type(error).__name__}: {error}"
        self.outcomes[message.topic, "dead" if dead else "failed"] += 1
        which = {"topic": message.topic, "message": message.id, "attempt": message.attempt}
        if dead:
            log.error("outbox message is dead", **which, exc_info=error)
        else:
            log.warning("outbox message failed", **which, exc_info=error)
        # If this fails too, the message is due after the pause that its claim has set.
        with contextlib.suppress(Exception):
            async with pool.sessions.begin() as session:
                await claims.fail(session, message, text, dead=dead)

    async def _keep_house(self, pool: Pool) -> None:
        """Count what there is and delete what is done for long."""
        clean_at = time.monotonic() + CLEAN * random.uniform(0.5, 1.5)
        while True:
            with contextlib.suppress(Exception):  # the relay logs a database that is away
                await self._count(pool)
                if time.monotonic() >= clean_at:
                    clean_at = time.monotonic() + CLEAN * random.uniform(0.5, 1.5)
                    await self._forget(pool)
            await asyncio.sleep(COUNT)

    async def _count(self, pool: Pool) -> None:
        pool.breaker.check()
        async with pool.readers() as session:
            self.found = await claims.count(session)

    async def _forget(self, pool: Pool) -> None:
        deleted = claims.BATCH
        while deleted == claims.BATCH:
            async with pool.sessions.begin() as session:
                deleted = await claims.forget(session, self._settings.keep_hours)
