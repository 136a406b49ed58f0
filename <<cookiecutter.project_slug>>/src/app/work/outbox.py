"""The outbox: work that is promised in the transaction of a request, and done after it.

A message is stored with the other changes of its session: if they are committed, it is handled
at least once, else never. ``relay`` does that, in every pod.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import event, func, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.work.models import OutboxMessage

#: Called after each commit of a message; the relay of this process is here.
on_commit: list[Callable[[], object]] = []


@dataclass(frozen=True, slots=True)
class Message:
    """What a handler gets; ``attempt`` counts from 1."""

    id: int
    topic: str
    payload: Any
    attempt: int


async def add(session: AsyncSession, topic: str, payload: Any, *, delay: float = 0.0) -> int:
    """Promise that the handler of ``topic`` gets ``payload``, which JSON must be able to express.

    That is ``delay`` seconds after the commit at the earliest. Returns the message's id. A topic
    without a handler waits for a version that has one.
    """
    due = func.now() + timedelta(seconds=delay)
    statement = insert(OutboxMessage).values(topic=topic, payload=payload, due_at=due)
    identity: int = (await session.scalars(statement.returning(OutboxMessage.id))).one()
    event.listen(session.sync_session, "after_commit", _wake, once=True)
    return identity


def _wake(_session: Session) -> None:
    for wake in on_commit:
        wake()
