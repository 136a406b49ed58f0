"""Connections that know the deadline of the request, and tell the breaker how the server is."""

import asyncio
import math
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from app.database.breaker import Breaker
from app.database.errors import Unavailable, code
from app.lifecycle import deadline


class Connection(asyncpg.Connection):  # type: ignore[misc] # asyncpg is untyped
    """A connection of asyncpg whose transactions end with the request's deadline.

    ``SET LOCAL statement_timeout`` travels with ``BEGIN``, so it costs no round trip. The
    server then ends a statement by itself that nobody waits for any more, even if this pod is
    gone.
    """

    breaker: Breaker
    #: Seconds that the server gives any statement; a deadline after that needs no mention.
    backstop = math.inf

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        if not query.startswith("BEGIN"):
            return await super().execute(query, *args, timeout=timeout)
        self.breaker.check()
        deadline.raise_if_expired()
        left = deadline.remaining()
        if left < self.backstop:
            query += f"SET LOCAL statement_timeout={math.ceil(left * 1000)}"
        self.breaker.wait(self, self.terminate)
        try:
            return await super().execute(query, timeout=timeout)
        finally:
            self.breaker.answered(self)


def guard(engine: AsyncEngine, backstop: float = math.inf) -> Breaker:
    """Watch the connections of ``engine``, which are of class ``Connection``; return its breaker.

    ``backstop`` is the ``statement_timeout`` of its connections in seconds.
    """
    dialect = engine.sync_engine.dialect
    arguments: dict[str, Any] = {}

    def connect() -> Any:
        made = dialect.connect(**arguments)
        made.driver_connection.breaker = breaker
        made.driver_connection.backstop = backstop
        return made

    async def probe() -> None:
        """Connect: a server that does not answer, stops or starts lets nobody in."""
        try:
            made = await greenlet_spawn(connect)
        except Exception as error:
            if not code(error).startswith("53"):  # those say: no connection to spare
                raise
        else:
            await greenlet_spawn(made.close)

    breaker = Breaker(probe)

    @event.listens_for(engine.sync_engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, _args: Any, parameters: dict[str, Any]) -> Any:
        breaker.check()
        arguments.update(parameters)
        task = asyncio.current_task()
        breaker.wait(task, lambda: None)
        try:
            return connect()
        except Exception as error:
            breaker.suspect()
            raise Unavailable("no connection to the database could be made") from error
        finally:
            breaker.answered(task)

    @event.listens_for(engine.sync_engine, "handle_error")
    def _error(context: ExceptionContext) -> None:
        if context.is_disconnect:
            breaker.suspect()

    return breaker
