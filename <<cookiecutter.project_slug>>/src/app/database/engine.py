"""The engine: how a connection is made."""

import importlib
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app.database.address import Address, read
from app.database.connection import Connection
from app.database.errors import Unavailable
from app.database.queue import Queue
from app.database.settings import Database
from app.lifecycle.ports import StartError

#: Seconds after which a server notices that the client of a running statement is gone.
CLIENT_CHECK = 2
#: Longest name that PostgreSQL keeps of an application, in bytes.
LONGEST_NAME = 63


class Connector:
    """Connects to the server; each call resolves its name anew, so it follows a failover."""

    def __init__(
        self, settings: Database, address: Address, connection_class: type = Connection
    ) -> None:
        self._settings = settings
        self._class = connection_class
        self._address = address
        #: Why it connects no more; empty: it does.
        self.closed = ""
        #: Called with the seconds that a connect took; None: it failed.
        self.on_connect: Callable[[float | None], object] = lambda seconds: None
        self._connect = self._asyncpg() if address.driver == "asyncpg" else self._psycopg()

    async def __call__(self, **more: Any) -> Any:
        """A connection of the driver, which gets ``more``. Raises what the driver raises."""
        if self.closed:
            raise Unavailable(self.closed)
        began = time.monotonic()
        try:
            connection = await self._connect(**more)
        except BaseException:
            self.on_connect(None)
            raise
        self.on_connect(time.monotonic() - began)
        return connection

    def arguments(self) -> dict[str, Any]:
        """What SQLAlchemy passes to its driver."""
        arguments: dict[str, Any] = {"async_creator_fn": self}
        if self._address.driver == "asyncpg" and self._settings.pooler != "none":
            arguments["prepared_statement_cache_size"] = 0
            arguments["prepared_statement_name_func"] = str  # the unnamed statement
        return arguments

    def _asyncpg(self) -> Callable[..., Any]:
        import asyncpg

        settings, address = self._settings, self._address
        options: dict[str, Any] = {
            "dsn": address.dsn,
            "connection_class": self._class,
            "timeout": address.connect_timeout or settings.connect_seconds,
        }
        if settings.password_file:
            options["password"] = self._password
        if address.system_roots:
            options["ssl"] = True
        if settings.pooler == "none":
            options["server_settings"] = self._server_settings()
        else:
            options["statement_cache_size"] = 0
            options["server_settings"] = {"application_name": self._name()}
            options["command_timeout"] = settings.statement_seconds or None
        return partial(asyncpg.connect, **options)

    def _psycopg(self) -> Callable[..., Any]:
        try:
            connect = importlib.import_module("psycopg").AsyncConnection.connect
        except ImportError:
            raise StartError(
                "APP_DATABASE__URL begins with postgresql+psycopg://, but psycopg is not "
                "installed: run `uv add 'psycopg[binary]>=3.3.9'`"
            ) from None
        settings, address = self._settings, self._address
        options: dict[str, Any] = {
            "connect_timeout": max(1, round(address.connect_timeout or settings.connect_seconds)),
            "application_name": self._name(),
        }
        if settings.pooler == "none":
            given = self._server_settings().items()
            options["options"] = " ".join(f"-c {name}={value}" for name, value in given)
            if extra := address.parameters.get("options"):
                options["options"] += f" {extra}"
        else:
            options["prepare_threshold"] = None

        def open_one(**more: Any) -> Any:
            password = {"password": self._password()} if settings.password_file else {}
            return connect(address.dsn, **options, **password, **more)

        return open_one

    def _password(self) -> str:
        return Path(self._settings.password_file).read_text("utf-8").rstrip("\r\n")

    def _name(self) -> str:
        """What ``pg_stat_activity`` calls this pod."""
        given = self._address.parameters.get("application_name")
        return (given or os.environ.get("POD_NAME") or socket.gethostname())[:LONGEST_NAME]

    def _server_settings(self) -> dict[str, str]:
        settings = self._settings
        milliseconds = str(round(settings.statement_seconds * 1000))
        return {
            "application_name": self._name(),
            "client_connection_check_interval": str(CLIENT_CHECK * 1000),
            "idle_in_transaction_session_timeout": milliseconds,
            "idle_session_timeout": str(round(settings.idle_seconds * 1000)),
            "statement_timeout": milliseconds,
        }


def connector(settings: Database, connection_class: type = Connection) -> Connector:
    """What connects by ``settings``. Raises StartError with a sentence if nothing can.

    ``connection_class`` is a kind of asyncpg's; psycopg has none.
    """
    url = settings.url.get_secret_value()
    if not url:
        raise StartError(
            "APP_DATABASE__URL is not set: it names the database, such as "
            "postgresql://user:password@host:5432/name"
        )
    address = read(url)
    roots = address.parameters.get("sslrootcert") or os.environ.get("PGSSLROOTCERT", "")
    if roots != "system" and not Path(roots).is_file() and (roots or _verifies(address)):
        which = f"sslrootcert={roots}, which is no file" if roots else "no sslrootcert"
        raise StartError(
            f"APP_DATABASE__URL has {which}: name the file with the certificates of the server's "
            "authority, or sslrootcert=system for those of the image"
        )
    if (file := settings.password_file) and not os.access(file, os.R_OK):
        raise StartError(
            f"APP_DATABASE__PASSWORD_FILE={file} cannot be read: mount the Secret there"
        )
    return Connector(settings, address, connection_class)


def _verifies(address: Address) -> bool:
    return address.parameters.get("sslmode", "").startswith("verify-")


def create_engine(settings: Database, connect: Connector | None = None) -> AsyncEngine:
    """Return an engine with the pool that ``settings`` ask for; it opens no connection.

    Raises StartError if the settings name no database.
    """
    connect = connect or connector(settings)
    driver = read(settings.url.get_secret_value()).driver
    return create_async_engine(
        f"postgresql+{driver}://",
        connect_args=connect.arguments(),
        hide_parameters=True,  # they would be in the text of errors, and so in the log
        poolclass=Queue,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=settings.checkout_seconds,
        pool_recycle=round(settings.lifetime_seconds),
        pool_use_lifo=True,
        # asyncpg tells of a closed connection without a round trip: loans.py.
        pool_pre_ping=driver == "psycopg",
    )
