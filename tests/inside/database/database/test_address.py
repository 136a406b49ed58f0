"""Addresses that operators give: what is read of them, and what a wrong one says."""

import pytest

from app.database.address import read
from app.environment import SettingsError, load

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "driver", "host", "port", "name"),
    [
        (f"postgresql://me:{SECRET}@db.example:6432/shop", "asyncpg", "db.example", 6432, "shop"),
        ("postgres://db/shop", "asyncpg", "db", 5432, "shop"),
        ("postgresql+asyncpg://db/shop", "asyncpg", "db", 5432, "shop"),
        ("postgresql+psycopg://db/shop", "psycopg", "db", 5432, "shop"),
        ("postgresql://one:5433,two:5434/shop", "asyncpg", "one", 5433, "shop"),
        ("postgresql://[fd00::7]:5433/shop", "asyncpg", "fd00::7", 5433, "shop"),
        ("postgresql:///shop?host=/run/postgresql", "asyncpg", "/run/postgresql", 5432, "shop"),
        ("postgresql://me@/?host=one,two&port=1,2&dbname=shop", "asyncpg", "one", 1, "shop"),
    ],
)  # fmt: skip
def test_what_operators_give_is_read(
    url: str, driver: str, host: str, port: int, name: str
) -> None:
    found = read(url)
    assert (found.driver, found.host, found.port, found.name) == (driver, host, port, name)
    assert SECRET not in repr(found)


def test_parameters_of_libpq_are_passed_on_or_left_out() -> None:
    found = read(
        "postgresql://db/shop?sslmode=verify-full&sslrootcert=/ca.crt&connect_timeout=3"
        "&keepalives_idle=30&channel_binding=prefer&options=-c%20search_path%3Dshop"
    )
    assert found.parameters == {
        "sslmode": "verify-full",
        "sslrootcert": "/ca.crt",
        "options": "-c search_path=shop",
    }
    assert found.connect_timeout == 3
    assert "keepalives_idle" in read("postgresql+psycopg://db/shop?keepalives_idle=30").dsn


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"mysql://me:{SECRET}@db/shop", "begins with mysql:"),
        (f"me:{SECRET}@db/shop", "URL"),
        ("db.example", "no scheme"),
        (f"postgresql://me:{SECRET}@db", "names no database"),
        (f"postgresql://me:{SECRET}@/shop", "names no host"),
        (f"postgresql://me:{SECRET}@here@db/shop", "more than one @"),
        (f"postgresql://me:{SECRET}#1@db/shop", "#"),
        (f"postgresql://me:{SECRET}/1@db/shop", "%2F for /"),
        (f"postgresql://me:{SECRET}@db:eight/shop", "port"),
        (f"postgresql://me:{SECRET}@db:70000/shop", "port"),
        (f"postgresql://me:{SECRET}@db/shop?sslmode=on", "sslmode=on: it must be one of disable"),
        (f"postgresql://me:{SECRET}@db/shop?target_session_attrs=rw", "must be one of any"),
        (f"postgresql://me:{SECRET}@db/shop?sslmod=require", "did you mean sslmode?"),
        (f"postgresql://me:{SECRET}@db/shop?work_mem=1MB", "server settings go into options"),
        (f"postgresql://me:{SECRET}@db/shop?connect_timeout=soon", "whole seconds"),
        (f"postgresql://me:{SECRET}@db/shop?channel_binding=require", "asyncpg cannot do"),
    ],
)  # fmt: skip
def test_a_wrong_address_is_one_sentence_without_the_password(
    url: str, says: str, bare_environment: pytest.MonkeyPatch
) -> None:
    bare_environment.setenv("APP_DATABASE__URL", url)
    with pytest.raises(SettingsError) as refused:
        load()
    (sentence,) = str(refused.value).splitlines()
    assert sentence.startswith("APP_DATABASE__URL ")
    assert says in sentence
    assert SECRET not in sentence
