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
from app.database.pool import READS, Pool


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    pool: Pool = request.app.state.service.components["database"]
    pool.breaker.check()
    async with pool.sessions() as session:
        try:
            yield session
            await end(session)
        except PoolTimeout:
            pool.breaker.suspect()
            raise


async def _read_session(request: Request) -> AsyncIterator[AsyncSession]:
    pool: Pool = request.app.state.service.components["database"]
    pool.breaker.check()
    async with pool.readers() as session:
        try:
            yield session
        except PoolTimeout:
            pool.breaker.suspect()
            raise


Session = Annotated[AsyncSession, Depends(_session, scope="function")]
"""A session with a transaction. It ends before the response: a failed commit is no 200."""

ReadSession = Annotated[AsyncSession, Depends(_read_session, scope="function")]
"""A session whose transaction cannot write; a database that goes away at its end is no error."""


async def end(session: AsyncSession) -> None:
    """Commit. Raises OutcomeUnknown if the connection is lost while the server does it."""
    if session.info.get(READS):
        return
    try:
        await session.commit()
    except DBAPIError as error:
        # Without a statement it was the COMMIT, not what the session still had to write.
        if error.statement is None and lost(error):
            raise OutcomeUnknown("the connection was lost during the commit") from error
        raise
