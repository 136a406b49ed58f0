"""Sessions that notice when they are closed with changes that nobody committed."""

import sys
from functools import partial
from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from app.database.loans import Loan, Loans

#: Marks in ``session.info`` a session that only reads.
READS = "reads"


class _Session(Session):
    """Where the connection of a transaction is noted."""


class WatchedSession(AsyncSession):
    """A session that reports lost changes to the ``Loans`` in its ``info``.

    An error that leaves the session is no loss: its changes are meant to be rolled back.
    """

    sync_session_class = _Session
    _leaving = False

    async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if kind is None:
            self._look()
        self._leaving = True
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            self._leaving = False

    async def close(self) -> None:
        """Close it; changes that are not committed are rolled back, and reported."""
        if not self._leaving and sys.exc_info()[0] is None:
            self._look()
        await super().close()

    def _look(self) -> None:
        session, connection = self.sync_session, self.info.get("connection")
        loan: Loan | None = None
        if connection is not None and not connection.closed and connection.in_transaction():
            loan = connection.info.get("loan")
        if (loan and loan.wrote) or session.new or session.deleted or session.dirty:
            loans: Loans = self.info["loans"]
            loans.found_dirty(loan, "session closed without commit")


@event.listens_for(_Session, "after_begin")
def _begun(session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    session.info["connection"] = connection
    if session.info.get(READS):
        # An engine with this option would cost each request a twentieth more.
        read_only, dbapi = connection.dialect.set_readonly, connection.connection.dbapi_connection
        read_only(dbapi, True)
        connection.info["undo"] = partial(read_only, dbapi, False)
