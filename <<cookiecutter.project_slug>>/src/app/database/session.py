"""The session of a request: it commits before the response is sent.

A handler asks for a ``Session`` or, if it only reads, for a ``ReadSession``. Neither takes a
connection before the first statement.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.errors import OutcomeUnknown, lost
from app.database.pool import Pool
from app.database.sessions import READS


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    pool = _pool(request)
    session = pool.sessions()
    try:
        yield session
        await end(session)
    except BaseException as error:
        await _abandon(session, pool, error)
        raise
    # The connection went back with the commit: what is left is in memory.
    session.sync_session.close()


async def _read_session(request: Request) -> AsyncIterator[AsyncSession]:
    pool = _pool(request)
    session = pool.readers()
    try:
        yield session
        await end(session)
    except BaseException as error:
        await _abandon(session, pool, error)
        raise
    session.sync_session.close()


def _pool(request: Request) -> Pool:
    pool: Pool = request.app.state.service.components["database"]
    pool.breaker.check()
    return pool


async def _abandon(session: AsyncSession, pool: Pool, error: BaseException) -> None:
    """Roll back, also if this request is cancelled meanwhile."""
    if isinstance(error, PoolTimeout):
        pool.breaker.suspect()
    await session.__aexit__(type(error), error, error.__traceback__)


Session = Annotated[AsyncSession, Depends(_session, scope="function")]
"""A session with a transaction. It ends before the response: a failed commit is no 200."""

ReadSession = Annotated[AsyncSession, Depends(_read_session, scope="function")]
"""A session whose transaction cannot write; a connection lost at its end is no error."""


async def end(session: AsyncSession) -> None:
    """Commit, if something was done. Raises OutcomeUnknown if the connection is lost meanwhile."""
    if not session.in_transaction():
        return
    reads = session.info.get(READS)
    if reads:
        session.expunge_all()  # changes in memory are the reader's own
    try:
        await session.commit()
    except DBAPIError as error:
        # Without a statement it was the COMMIT, not what the session still had to write.
        if error.statement is not None or not lost(error):
            raise
        if not reads:
            raise OutcomeUnknown("the connection was lost during the commit") from error
