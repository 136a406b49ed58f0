"""Connections that know the deadline of the request, and tell the breaker how the server is."""

import asyncio
import math
import time
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from app.database.breaker import Breaker
from app.database.errors import GOING, Unavailable, code
from app.lifecycle import deadline

#: Seconds without another attempt to connect to a server that has no connection to spare.
FULL_SECONDS = 0.2
FULL = "the database has no connection to spare"


class Connection(asyncpg.Connection):  # type: ignore[misc] # asyncpg is untyped
    """A connection of asyncpg whose transactions end with the request's deadline.

    ``SET LOCAL statement_timeout`` travels with ``BEGIN``, so it costs no round trip. The
    server then ends a statement by itself that nobody waits for any more, even if this pod is
    gone.
    """

    #: None: nobody guards the engine.
    breaker: Breaker | None = None
    #: Seconds that the server gives any statement; a deadline after that needs no mention.
    backstop = math.inf

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        breaker = self.breaker
        if breaker is None or not query.startswith("BEGIN"):
            return await super().execute(query, *args, timeout=timeout)
        breaker.check()
        left = deadline.remaining()
        if left < deadline.LEAST:
            deadline.raise_if_expired()
        if left < self.backstop:
            query += f"SET LOCAL statement_timeout={math.ceil(left * 1000)}"
        breaker.wait(self, self.terminate)
        try:
            return await super().execute(query, timeout=timeout)
        finally:
            breaker.answered(self)


class Guard:
    """Watches the connections of an engine, which are of class ``Connection``, for its breaker.

    ``backstop`` is the ``statement_timeout`` of its connections in seconds.
    """

    def __init__(self, engine: AsyncEngine, backstop: float = math.inf) -> None:
        self.breaker = Breaker(self._probe)
        self._dialect = engine.sync_engine.dialect
        self._backstop = backstop
        #: What the dialect connects with; the engine tells.
        self._arguments: dict[str, Any] = {}
        self._full_until = 0.0
        event.listen(engine.sync_engine, "do_connect", self._connect)
        event.listen(engine.sync_engine, "handle_error", self._failed)

    def _connect(self, _dialect: Any, _record: Any, _args: Any, arguments: dict[str, Any]) -> Any:
        self.breaker.check()
        if time.monotonic() < self._full_until:
            raise Unavailable(FULL)
        self._arguments = arguments
        task = asyncio.current_task()
        self.breaker.wait(task, lambda: None)
        try:
            return self._open()
        except Unavailable:
            raise
        except Exception as error:
            if _full(error):
                self._full_until = time.monotonic() + FULL_SECONDS
                raise Unavailable(FULL) from error
            self.breaker.suspect()
            raise Unavailable("no connection to the database could be made") from error
        finally:
            self.breaker.answered(task)

    def _open(self) -> Any:
        made = self._dialect.connect(**self._arguments)
        made.driver_connection.breaker = self.breaker
        made.driver_connection.backstop = self._backstop
        return made

    async def _probe(self) -> None:
        """Connect: a server that does not answer, stops or starts lets nobody in."""
        try:
            made = await greenlet_spawn(self._open)
        except Exception as error:
            if not _full(error):
                raise
        else:
            await greenlet_spawn(made.close)

    def _failed(self, context: ExceptionContext) -> None:
        if context.is_disconnect or code(context.original_exception) in GOING:
            self.breaker.suspect()


def _full(error: Exception) -> bool:
    """Whether the server answers, but has no connection to spare."""
    return code(error).startswith("53")
