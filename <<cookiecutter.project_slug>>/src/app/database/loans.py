"""Who has a connection, since when and from where; which came back with changes not committed.

SQLAlchemy calls the listeners for each connection that is borrowed and returned, so they only
write down numbers and frames: a stack is made into text when it is needed.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

import structlog
from greenlet import getcurrent
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry, PoolResetState

from app.observability.histogram import Series

log = structlog.get_logger(__name__)

#: How many frames of the borrower are kept.
FRAMES = 12
#: What begins a statement that changes something, where it is text.
WRITES = frozenset(("INSERT", "UPDATE", "DELETE", "MERGE "))

#: Code and the offset of an instruction; its line takes long to find.
Frames = list[tuple[CodeType, int]]


@dataclass(slots=True, eq=False)
class Loan:
    """A borrowed connection; ``began`` is on the monotonic clock."""

    began: float
    frames: Frames
    task: "asyncio.Task[Any] | None"
    driver: Any = None
    #: Whether it has changed something in its transaction.
    wrote: bool = False
    leaked: bool = False
    #: Whether it came back inside a transaction.
    inside: bool = False

    def where(self) -> list[str]:
        """The lines that borrowed it, innermost last, without those of SQLAlchemy."""
        return [
            f"{code.co_filename}:{_line(code, instruction)} in {code.co_name}"
            for code, instruction in reversed(self.frames)
            if "/sqlalchemy/" not in code.co_filename
        ]

    def who(self) -> str:
        """The task that borrowed it."""
        return self.task.get_name() if self.task is not None else "no task"


class Loans:
    """All loans of a pool, and what it counts; ``leak`` is in seconds."""

    def __init__(self, leak: float, uses: Series) -> None:
        self.open: dict[ConnectionPoolEntry, Loan] = {}
        #: Connections to the server, of the driver.
        self.connections: set[Any] = set()
        #: Connections that were held for long, and those never returned.
        self.leaks = self.lost = 0
        #: Connections and sessions that came back with changes which nobody committed.
        self.dirty = 0
        self._leak = leak
        self._uses = uses
        self._all_back = asyncio.Event()

    def watch(self, engine: AsyncEngine) -> None:
        """Write down what is borrowed from ``engine``."""
        pool = engine.sync_engine.pool
        event.listen(pool, "checkout", self._lent)
        event.listen(pool, "reset", self._resets)
        event.listen(pool, "checkin", self._returned)
        event.listen(pool, "connect", self._connected)
        event.listen(pool, "close", self._closed)
        event.listen(pool, "close_detached", self._closed)
        event.listen(pool, "detach", self._detached)
        # No events of the engine: with one, SQLAlchemy copies the parameters of every statement.
        dialect: Any = engine.sync_engine.dialect
        dialect.do_begin = _begins
        dialect.execution_ctx_cls = type(
            "Execution", (_Noted, dialect.execution_ctx_cls), {"__slots__": ()}
        )

    def _lent(self, dbapi: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        driver = dbapi.driver_connection
        if is_closed(driver):
            raise DisconnectionError("the server has closed this connection")
        loan = Loan(time.monotonic(), _frames(), asyncio.current_task(), driver)
        self.open[record] = record.info["loan"] = loan

    def _resets(self, dbapi: Any, record: ConnectionPoolEntry, state: PoolResetState) -> None:
        loan = self.open.get(record)
        if loan is None or state.terminate_only:
            return
        if state.transaction_was_reset:
            if loan.wrote:
                self.found_dirty(loan, "closed without commit or rollback")
        elif in_transaction(dbapi.driver_connection):
            self.found_dirty(loan, "returned inside a transaction")
            loan.inside = True

    def _returned(self, dbapi: object, record: ConnectionPoolEntry) -> None:
        if (undo := record.info.pop("undo", None)) is not None and dbapi is not None:
            undo()  # what a session has set for its transaction
        if (loan := self.open.pop(record, None)) is not None:
            if loan.inside and in_transaction(loan.driver):
                abort(loan.driver)  # SQLAlchemy knows nothing of a transaction of the driver
            self._uses.observe(time.monotonic() - loan.began)
            if not self.open:
                self._all_back.set()

    def _connected(self, dbapi: Any, _record: object) -> None:
        self.connections.add(dbapi.driver_connection)

    def _closed(self, dbapi: Any, _record: object = None) -> None:
        self.connections.discard(dbapi.driver_connection)

    def _detached(self, _dbapi: object, record: ConnectionPoolEntry) -> None:
        if (loan := self.open.get(record)) is not None:
            self.lost += 1
            log.error("connection was never returned", task=loan.who(), where=loan.where())
            self._returned(None, record)

    def found_dirty(self, loan: Loan | None, how: str) -> None:
        """Count and log that changes are lost: those of ``loan``, or of the caller."""
        self.dirty += 1
        loan = loan or Loan(0, _frames(), asyncio.current_task())
        log.warning("changes were rolled back", how=how, task=loan.who(), where=loan.where())

    def held(self) -> Iterator[tuple[Loan, float]]:
        """The loans and their ages in seconds, oldest first; any thread may ask."""
        now = time.monotonic()
        for loan in sorted(self.open.copy().values(), key=lambda one: one.began):
            yield loan, now - loan.began

    async def look_for_leaks(self) -> None:
        """Log each loan once that is older than ``leak`` seconds; for ever."""
        while True:
            await asyncio.sleep(self._leak / 4)
            for loan, seconds in self.held():
                if seconds >= self._leak and not loan.leaked:
                    loan.leaked = True
                    self.leaks += 1
                    log.warning(
                        "connection held for long",
                        seconds=round(seconds, 1),
                        task=loan.who(),
                        where=loan.where(),
                    )

    async def all_back(self) -> None:
        """Wait until nobody has a connection."""
        while self.open:
            self._all_back.clear()
            await self._all_back.wait()


def is_closed(driver: Any) -> bool:
    """Whether the driver's connection is closed, without asking the server."""
    closed = driver.is_closed() if hasattr(driver, "is_closed") else driver.closed
    return bool(closed)


def abort(driver: Any) -> None:
    """Close the driver's connection at once, without a word to the server."""
    if hasattr(driver, "terminate"):  # asyncpg
        driver.terminate()
    elif not driver.closed:
        driver.pgconn.finish()


def in_transaction(driver: Any) -> bool:
    """Whether the driver's connection is in a transaction, as the server last told."""
    if hasattr(driver, "is_in_transaction"):  # asyncpg
        return not driver.is_closed() and bool(driver.is_in_transaction())
    return not driver.closed and bool(driver.info.transaction_status)


def _frames() -> Frames:
    """The innermost frames of whoever awaits the greenlet that SQLAlchemy runs in."""
    outside = getcurrent().parent
    frame: FrameType | None = outside.gr_frame if outside is not None else sys._getframe(1)
    found: Frames = []
    while frame is not None and len(found) < FRAMES:
        found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return found


def _line(code: CodeType, instruction: int) -> int | None:
    lines = (line for start, end, line in code.co_lines() if start <= instruction < end)
    return next(lines, None)


def _begins(connection: Any) -> None:
    """In place of the dialect's ``do_begin``, which is empty: drivers begin by themselves."""
    if (loan := connection.info.get("loan")) is not None:
        loan.wrote = False


class _Noted:
    """Mixed into what SQLAlchemy makes for each statement: notes those that change something."""

    isinsert: bool
    isupdate: bool
    isdelete: bool
    statement: str
    root_connection: Any

    def post_exec(self) -> None:
        if (
            self.isinsert
            or self.isupdate
            or self.isdelete
            or self.statement.lstrip()[:6].upper() in WRITES
        ) and (loan := self.root_connection.info.get("loan")) is not None:
            loan.wrote = True
        super().post_exec()  # type: ignore[misc]
