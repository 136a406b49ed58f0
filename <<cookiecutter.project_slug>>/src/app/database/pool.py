"""The pool as a component: opened with the service, closed when nobody holds a connection."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any, cast

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

#% if cookiecutter.tracing == "opentelemetry"
from app.database import failover, spans
#% else
from app.database import failover
#% endif
#% if cookiecutter.tracing == "opentelemetry"
from app.database.address import read
#% endif
from app.database.connection import Guard
from app.database.engine import Connector, connector, create_engine
from app.database.loans import Loans, abort, is_closed
from app.database.measures import Times, families
from app.database.queue import Queue
from app.database.sessions import READS, WatchedSession
from app.database.settings import Database
from app.lifecycle.stuck import Held
from app.observability.metrics import Family

log = structlog.get_logger(__name__)

#: Seconds for the server to say goodbye to idle connections.
GOODBYE = 1.0


class Pool:
    """The connections of this pod; the value of the component ``database``."""

    def __init__(self, settings: Database, connect: Connector) -> None:
        self.times = Times()
        self.engine = create_engine(settings, connect)
        self.loans = Loans(settings.leak_seconds, self.times.use)
        #: Connections dropped because of their server, and attempts to connect that failed.
        self.drops = self.failures = 0
        #: Refuses transactions while the database is away.
        self.breaker = Guard(self.engine, settings.statement_seconds or math.inf).breaker
        self._connect = connect
        connect.on_connect = self._connected
        self.queue.waits = self.times.wait
        self.loans.watch(self.engine)
        if settings.pooler == "none":
            failover.watch(self.engine, self.drop)
#% if cookiecutter.tracing == "opentelemetry"
        spans.watch(self.engine, read(settings.url.get_secret_value()))
#% endif
        #: Makes sessions; close each, or use it as a context manager.
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(
            self.engine, class_=WatchedSession, expire_on_commit=False, info={"loans": self.loans}
        )
        #: Makes sessions that cannot write.
        self.readers: async_sessionmaker[AsyncSession] = async_sessionmaker(
            self.engine,
            class_=WatchedSession,
            expire_on_commit=False,
            info={READS: True, "loans": self.loans},
        )

    @property
    def queue(self) -> Queue:
        """SQLAlchemy's pool."""
        return cast(Queue, self.engine.sync_engine.pool)

    def idle(self) -> int:
        """How many open connections nobody has borrowed."""
        return sum(not is_closed(one) for one in self._idle())

    def families(self) -> list[Family]:
        """Its metrics."""
        return families(self)

    def status(self) -> dict[str, object]:
        """What ``/statusz`` shows of it."""
        return {
            "size": self.queue.size(),
            "idle": self.idle(),
            "used": len(self.loans.open),
            "waiting": self.queue.pending,
            "timeouts": self.queue.timeouts,
            "connect_failures": self.failures,
            "leaks": self.loans.leaks + self.loans.lost,
            "dirty_returns": self.loans.dirty,
            **self.breaker.status(),
            "held": [
                f"{seconds:.1f} s by {loan.who()}: {'; '.join(loan.where()[-3:])}"
                for loan, seconds in self.loans.held()
                if seconds > 1
            ],
        }

    def held(self) -> list[Held]:
        """The borrowed connections, for what a stop and SIGUSR1 log."""
        return [
            Held("connection", loan.who(), seconds, loan.where())
            for loan, seconds in self.loans.held()
        ]

    async def ping(self) -> None:
        """Ask the server for an answer. Raises what the driver raises.

        If all connections are in use, one of its own is opened: a busy pool is no dead database.
        """
        if self.queue.checkedout() < self.queue.size():
            async with self.engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        else:
            driver = await self._connect()
            await driver.close()

    def drop(self, reason: str) -> None:
        """Close all connections that nobody uses; the others close when they come back."""
        idle = [one for one in self._idle() if not is_closed(one)]
        for driver in idle:
            abort(driver)
        self.drops += len(idle) + 1
        log.warning("database connections dropped", reason=reason, idle=len(idle))

    async def close(self) -> None:
        """Refuse new borrowers, wait for those that have a connection, then close all.

        Cancelled when its time is up, it cuts off who still has one; the stop has named them.
        """
        self._connect.closed = "the service stops: the database pool is closed"
        self.queue.close(self._connect.closed)
        try:
            await self.loans.all_back()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GOODBYE):
                    await self.engine.dispose()
        finally:
            for driver in self.loans.connections:
                abort(driver)

    def _idle(self) -> list[Any]:
        """The driver's connections that nobody has borrowed."""
        found = (record.driver_connection for record in self.queue.idle.copy())
        return [one for one in found if one is not None]

    def _connected(self, seconds: float | None) -> None:
        if seconds is None:
            self.failures += 1
        else:
            self.times.create.observe(seconds)


@contextlib.asynccontextmanager
async def open_pool(settings: Database) -> AsyncIterator[Pool]:
    """Open the pool; no connection is made before somebody needs one.

    Raises StartError if no database is named, or the address cannot be right.
    """
    pool = Pool(settings, connector(settings))
    watching = asyncio.create_task(pool.loans.look_for_leaks(), name="look for leaked connections")
    try:
        yield pool
    finally:
        watching.cancel()
        try:
            await pool.close()
        finally:
            await pool.breaker.close()
