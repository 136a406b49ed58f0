"""The session of a request: it commits before the response is sent."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.pool import Pool


async def _session(request: Request) -> AsyncIterator[AsyncSession]:
    pool: Pool = request.app.state.service.components["database"]
    async with pool.sessions() as session, session.begin():
        yield session


Session = Annotated[AsyncSession, Depends(_session, scope="function")]
"""A session with a transaction. It ends before the response: a failed commit is no 200."""
