"""A server that went away or is not the primary any more: nothing keeps its connections."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

#: SQLSTATEs of a server that stops, crashed, or does not take connections yet.
GONE = frozenset(("57P01", "57P02", "57P03"))
#: SQLSTATE of a write to a server, or in a transaction, that only reads.
READ_ONLY = "25006"


def watch(engine: AsyncEngine, drop: Callable[[str], object]) -> None:
    """Call ``drop`` with a reason when an error says that the server is not to be used.

    The connection of the error is closed, and those that are borrowed are when they come back.
    """

    def failed(context: ExceptionContext) -> None:
        code = getattr(context.original_exception, "sqlstate", None)
        if code in GONE:
            reason = f"the server stops or starts ({code})"
        elif code == READ_ONLY and _server_is_read_only(context):
            reason = f"the server is read-only ({code})"
        else:
            return
        context.is_disconnect = True
        drop(reason)

    event.listen(engine.sync_engine, "handle_error", failed)


def _server_is_read_only(context: ExceptionContext) -> bool:
    """Whether the server refuses writes, not the transaction alone; older than 14: it may."""
    if context.connection is None:
        return False
    driver: Any = context.connection.connection.driver_connection
    told = [_told(driver, name) for name in ("in_hot_standby", "default_transaction_read_only")]
    return "on" in told or told == [None, None]


def _told(driver: Any, name: str) -> str | None:
    """A parameter as the server last reported it."""
    if hasattr(driver, "get_settings"):  # asyncpg
        value = getattr(driver.get_settings(), name, None)
    else:
        value = driver.info.parameter_status(name)
    return None if value is None else str(value)
