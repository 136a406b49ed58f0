"""The table of the outbox."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Identity,
    Index,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database.models import Base

PENDING, DONE, DEAD = "pending", "done", "dead"


class OutboxMessage(Base):
    """Work that is promised. Dead: given up, until somebody makes it pending again."""

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint("state IN ('pending', 'done', 'dead')", name="state"),
        # Small, however many messages are done: what is due, and what is to be deleted or seen.
        Index("ix_outbox_due_at", "due_at", postgresql_where=text("state = 'pending'")),
        Index("ix_outbox_finished_at", "finished_at", postgresql_where=text("state = 'done'")),
        Index("ix_outbox_dead", "id", postgresql_where=text("state = 'dead'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    topic: Mapped[str] = mapped_column(String(100))
    payload: Mapped[Any] = mapped_column(JSONB)
    state: Mapped[str] = mapped_column(String(7), server_default=PENDING)
    #: How often a relay began with it.
    attempts: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    #: When a relay may begin with it.
    due_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    #: What the last attempt failed with.
    error: Mapped[str | None] = mapped_column(Text)
