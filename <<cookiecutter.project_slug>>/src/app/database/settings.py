"""The settings of the database and of its migrations."""

from pydantic import Field, SecretStr

from app.lifecycle.settings import Group, Period


class Database(Group):
    """PostgreSQL, and the pool of connections to it."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="Address of the database, such as postgresql://user:password@host:5432/name.",
    )
    pool_size: int = Field(
        default=10, ge=1, le=1000, description="Largest number of connections of this pod."
    )
    checkout_seconds: Period = Field(default=5.0, description="Time to wait for a free connection.")


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
        default=300.0,
        description="Time to try again for locks, and to wait for another migration that runs.",
    )
    gating: bool = Field(
        default=True,
        description="Not ready until the schema was seen to be new enough; after that, the "
        "database may go away. false: only the log and /statusz say so.",
    )
