"""The settings of the outbox's relay."""

from pydantic import Field

from app.lifecycle.settings import Group, Period


class Outbox(Group):
    """How this pod works off the outbox."""

    concurrency: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="Messages that are handled at the same time; each takes a connection of the "
        "pool.",
    )
    poll_seconds: Period = Field(
        default=1.0,
        description="Time between two looks for what other pods have left. Messages of this pod "
        "do not wait for it.",
    )
    timeout_seconds: Period = Field(
        default=30.0,
        description="Longest handling of a message. Its transaction is open for that time.",
    )
    attempts: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="Attempts until a message is dead. The pauses grow from 1 s to 10 min, so 20 "
        "take two hours.",
    )
    keep_hours: float = Field(
        default=24.0,
        ge=0,
        le=8760,
        allow_inf_nan=False,
        description="Time after which messages that are done are deleted. Dead ones stay.",
    )
