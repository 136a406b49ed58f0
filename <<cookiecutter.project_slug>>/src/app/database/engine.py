"""The engine: how a connection is made and checked."""

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.database.connection import Connection
from app.database.settings import Database


def create_engine(settings: Database) -> AsyncEngine:
    """Return an engine with the pool that ``settings`` ask for; it opens no connection."""
    url = make_url(settings.url.get_secret_value()).set(drivername="postgresql+asyncpg")
    return create_async_engine(
        url,
        connect_args={"connection_class": Connection},
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.checkout_seconds,
        pool_use_lifo=True,
    )
