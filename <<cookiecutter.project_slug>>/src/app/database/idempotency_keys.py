"""The table of idempotency keys: a request that was served, and its response."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.database.models import Base


class IdempotencyKey(Base):
    """What was answered to the first request with a key, until ``expires_at``.

    ``route`` is the method and the path, ``request`` the SHA-256 of the body. The response is
    empty only within the transaction that makes it.
    """

    __tablename__ = "idempotency_keys"

    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request: Mapped[bytes] = mapped_column(LargeBinary)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
