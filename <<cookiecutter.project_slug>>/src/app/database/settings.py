"""The settings of the database, of its migrations and of the outbox in it."""

from typing import Literal

from pydantic import Field, SecretStr, model_validator

from app.database.address import read
from app.lifecycle.settings import Group, Period, Seconds


class Database(Group):
    """PostgreSQL, and the pool of connections to it."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="Address of the database, such as postgresql://user:password@host:5432/name, "
        "with the parameters of libpq: sslmode, sslrootcert, target_session_attrs and others.",
    )
    password_file: str = Field(
        default="",
        description="File with the password, read at each connect: a rotated password needs no "
        "restart. Replaces the password of the URL.",
    )
    pool_size: int = Field(
        default=10, ge=1, le=1000, description="Largest number of connections of this pod."
    )
    pooler: Literal["none", "pgbouncer"] = Field(
        default="none",
        description="pgbouncer: behind PgBouncer in transaction mode. No prepared statements, no "
        "server settings.",
    )
    checkout_seconds: Period = Field(default=5.0, description="Time to wait for a free connection.")
    connect_seconds: Period = Field(default=5.0, description="Time to connect to the server.")
    lifetime_seconds: float = Field(
        default=1800.0,
        gt=0,
        le=86400,
        allow_inf_nan=False,
        description="Age at which a connection is replaced when it is next needed.",
    )
    idle_seconds: float = Field(
        default=600.0,
        ge=0,
        le=86400,
        allow_inf_nan=False,
        description="Idle time after which the server closes a connection; 0 for never.",
    )
    statement_seconds: Seconds = Field(
        default=60.0,
        description="Time after which the server ends a statement, or a transaction that is idle, "
        "where nothing else does; 0 for never.",
    )
    leak_seconds: Period = Field(
        default=5.0,
        description="Time after which the log says who holds a connection.",
    )
    gating: bool = Field(
        default=False,
        description="Whether pods are not ready while the database is down. All are then, also for "
        "requests that need no database.",
    )

    @model_validator(mode="after")
    def _url_is_sound(self) -> "Database":
        if url := self.url.get_secret_value():
            read(url)
        return self


class Migrations(Group):
    """How ``python -m app migrate`` changes the schema, and what the service asks of it."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="Address of the database for migrations: the server itself, if the service "
        "uses a pooler, or a user who may change the schema. Empty: APP_DATABASE__URL.",
    )
    lock_seconds: Period = Field(
        default=2.0,
        description="Time that a statement waits for a lock on a table. Meanwhile others wait "
        "behind it, so it gives up and tries again later.",
    )
    statement_seconds: Period = Field(
        default=60.0,
        description="Longest statement of a migration. It may hold a lock that stops the service.",
    )
    wait_seconds: Period = Field(
        default=180.0,
        description="Time to try again for locks, and to wait for another migration that runs.",
    )
    gating: bool = Field(
        default=True,
        description="Not ready until the schema was seen to be new enough; after that, the "
        "database may go away. false: only the log and /statusz say so.",
    )

    @model_validator(mode="after")
    def _url_is_sound(self) -> "Migrations":
        if url := self.url.get_secret_value():
            read(url)
        return self


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
