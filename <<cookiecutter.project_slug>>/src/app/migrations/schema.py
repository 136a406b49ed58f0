"""Readiness: whether the schema of the database is new enough for this version."""

from collections.abc import Callable

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.database.errors import cause
from app.lifecycle.checks import Unwell
from app.migrations.revisions import State, compare, describe

log = structlog.get_logger(__name__)


class Schema:
    """A check that fails until the schema was seen to be new enough, and never after that.

    A pod that has not reached its database yet must not replace one that has. One that has
    stays ready when the database goes away, or all pods would be taken out at once.
    """

    def __init__(self, engine: Callable[[], AsyncEngine]) -> None:
        self._engine = engine
        self._seen = False

    async def ask(self) -> None:
        """Raises Unwell if the schema is older than needed, or not known."""
        if self._seen:
            return
        try:
            async with self._engine().connect() as connection:
                found = await revision_of(connection)
        except Exception as error:  # whatever the driver raises
            name = type(cause(error)).__name__
            raise Unwell(f"The schema is not known yet: {name}.") from error
        if compare(found) is State.OLDER:
            raise Unwell(describe(found))
        self._seen = True
        log.info("schema is new enough", state=describe(found))


async def revision_of(connection: AsyncConnection) -> str | None:
    """The revision of the database; None if it has no schema. It leaves no transaction open."""
    found: str | None = None
    if await connection.scalar(text("SELECT to_regclass('alembic_version')")) is not None:
        found = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    await connection.rollback()
    return found
