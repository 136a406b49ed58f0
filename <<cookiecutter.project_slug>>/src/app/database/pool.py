"""The pool as a component: opened with the service, closed when nobody holds a connection."""

import contextlib
from collections.abc import AsyncIterator

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app.database.connection import Guard
from app.database.engine import create_engine
from app.database.settings import Database
from app.lifecycle.ports import StartError

#: Marks in ``session.info`` a session that only reads.
READS = "reads"


class Pool:
    """The connections of this pod; the value of the component ``database``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        #: Refuses transactions while the database is away.
        self.breaker = Guard(engine).breaker
        #: Makes sessions; close each, or use it as a context manager.
        self.sessions: async_sessionmaker[AsyncSession] = async_sessionmaker(
            engine, expire_on_commit=False
        )
        #: Makes sessions that cannot write.
        self.readers: async_sessionmaker[AsyncSession] = async_sessionmaker(
            engine.execution_options(postgresql_readonly=True),
            expire_on_commit=False,
            info={READS: True},
        )


@contextlib.asynccontextmanager
async def open_pool(settings: Database) -> AsyncIterator[Pool]:
    """Open the pool; no connection is made before somebody needs one.

    Raises StartError if no database is named.
    """
    if not settings.url.get_secret_value():
        raise StartError(
            "APP_DATABASE__URL is not set: it names the database, such as "
            "postgresql://user:password@host:5432/name"
        )
    pool = Pool(create_engine(settings))
    try:
        yield pool
    finally:
        await pool.breaker.close()
        await pool.engine.dispose()
