"""The statements of the relay: claim, lock, finish, put off, delete, count.

A claim counts the attempt and puts the message off until its next one, in a short transaction.
The attempt then locks the row while it runs. So when its process is killed, the lock is gone at
once and the message is due again after the pause of that attempt: 1 s for the first, longer for
one that always kills its process. A lease would have to be long enough for the slowest handler.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, cast, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.work.models import DEAD, DONE, PENDING, OutboxMessage
from app.work.outbox import Message

#: Seconds until the second attempt, and the longest pause; it doubles in between.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 600.0
#: How many rows one statement deletes.
BATCH = 1000
#: How many rows are counted.
COUNTED = 10_000
#: How much of an error is stored, in characters.
ERROR = 1000


def _later(attempts: Any) -> ColumnElement[Any]:
    """When the next attempt is due; up to a third earlier, so that they spread."""
    doubled = FIRST_PAUSE * func.power(2.0, cast(func.least(attempts, 30), Float))
    pause = func.least(doubled, LONGEST_PAUSE) * (1 - func.random() / 3)
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, pause)


async def claim(session: AsyncSession, topics: Sequence[str], most: int) -> list[Message]:
    """Begin an attempt of up to ``most`` messages that are due, longest first."""
    row = OutboxMessage
    due = (
        select(row.id)
        .where(row.state == PENDING, row.due_at <= func.now(), row.topic.in_(topics))
        .order_by(row.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")  # as a subquery it could be run more than once, and lock more rows
    )
    statement = (
        update(row)
        .where(row.id.in_(select(due.c.id)))
        .values(attempts=row.attempts + 1, due_at=_later(row.attempts))
        .returning(row.id, row.topic, row.payload, row.attempts)
        .execution_options(synchronize_session=False)
    )
    found = (await session.execute(statement)).all()
    return [Message(*one) for one in found]


async def lock(session: AsyncSession, message: Message, seconds: float) -> bool:
    """Lock its row; False if somebody else has it, or has begun another attempt.

    The transaction may be idle for ``seconds``, whatever limit the connection has.
    """
    idle = func.set_config("idle_in_transaction_session_timeout", f"{seconds * 1000:.0f}", True)
    row = select(OutboxMessage.id, idle).where(*_this_attempt(message))
    return (await session.execute(row.with_for_update(skip_locked=True))).first() is not None


async def finish(session: AsyncSession, message: Message) -> None:
    """The message is done."""
    statement = (
        update(OutboxMessage)
        .where(OutboxMessage.id == message.id)
        .values(state=DONE, finished_at=func.clock_timestamp(), error=None)
    )
    await session.execute(statement.execution_options(synchronize_session=False))


async def fail(session: AsyncSession, message: Message, error: str, *, dead: bool) -> None:
    """Store why the attempt failed, unless another has begun; put it off, or give it up."""
    values: dict[str, Any] = {"error": error[:ERROR].replace("\0", "")}
    if dead:
        values |= {"state": DEAD, "finished_at": func.clock_timestamp()}
    else:
        values["due_at"] = _later(message.attempt - 1)
    statement = update(OutboxMessage).where(*_this_attempt(message)).values(values)
    await session.execute(statement.execution_options(synchronize_session=False))


async def forget(session: AsyncSession, hours: float) -> int:
    """Delete some that are done for ``hours``; return how many."""
    row = OutboxMessage
    old = (
        select(row.id)
        .where(row.state == DONE, row.finished_at < func.now() - timedelta(hours=hours))
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    statement = delete(row).where(row.id.in_(select(old.c.id))).returning(row.id)
    statement = statement.execution_options(synchronize_session=False)
    return len((await session.execute(statement)).all())


async def count(session: AsyncSession) -> tuple[int, int, float]:
    """How many are pending and dead, up to COUNTED, and for how many seconds the oldest is due."""
    row = OutboxMessage
    counts = []
    for state in (PENDING, DEAD):
        some = select(row.id).where(row.state == state).limit(COUNTED).subquery()
        counts.append(await session.scalar(select(func.count()).select_from(some)) or 0)
    late = func.extract("epoch", func.now() - func.min(row.due_at))
    overdue = await session.scalar(select(late).where(row.state == PENDING))
    return counts[0], counts[1], max(0.0, float(overdue or 0))


def _this_attempt(message: Message) -> tuple[ColumnElement[bool], ...]:
    row = OutboxMessage
    return row.id == message.id, row.attempts == message.attempt, row.state == PENDING
