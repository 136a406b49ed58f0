"""Handlers that may run twice are run again after a conflict or a lost connection."""

import asyncio
import functools
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.errors import described, retryable
from app.database.session import end
from app.lifecycle import deadline

log = structlog.get_logger(__name__)

Handler = TypeVar("Handler", bound=Callable[..., Awaitable[Any]])

#: How often a handler is run at most.
ATTEMPTS = 3
#: Seconds before the second attempt, on average; twice as many before the third.
PAUSE = 0.05


def idempotent(*, given: str = "") -> Callable[[Handler], Handler]:
    """Decorate a handler with a ``Session``: it may run twice, as if it had run once.

    After a serialization failure, a deadlock or a lost connection, also during the commit, the
    session is rolled back and the handler runs again, at most ATTEMPTS times and only while the
    request has time. Everything that it does must be in the session. ``given`` names a
    parameter without which it must not run twice. Put it below the route's decorator::

        @router.get("/orders/{order_id}")
        @idempotent()
        async def show(order_id: int, session: ReadSession) -> Order: ...
    """

    def decorate(handler: Handler) -> Handler:
        @functools.wraps(handler)
        async def run(*args: Any, **kwargs: Any) -> Any:
            session = next(one for one in kwargs.values() if isinstance(one, AsyncSession))
            left = ATTEMPTS if not given or kwargs[given] is not None else 1
            while True:
                left -= 1
                try:
                    result = await handler(*args, **kwargs)
                    await end(session)
                except Exception as error:
                    pause = random.uniform(0.5, 1.5) * PAUSE * (ATTEMPTS - left)
                    if not left or not retryable(error) or pause > deadline.remaining():
                        raise
                    log.info("transaction repeated", left=left, error=described(error))
                    await session.rollback()
                    await asyncio.sleep(pause)
                else:
                    return result

        return run  # type: ignore[return-value]

    return decorate
