"""The settings of the database."""

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
