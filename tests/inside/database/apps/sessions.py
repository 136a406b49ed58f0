"""Routes whose transactions fail in every way."""

import sys
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from sqlalchemy import text
from sqlalchemy.orm import Mapped, mapped_column

from app import environment, wiring
from app.api import database_errors, problems
from app.database import pool
from app.database.models import Base
from app.database.retry import idempotent
from app.database.session import ReadSession, Session
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals

router = APIRouter()
#: How often the handlers ran, by what the test calls it.
runs: dict[str, int] = {}


class Written(Base):
    __tablename__ = "written"

    name: Mapped[str] = mapped_column(primary_key=True)


async def _write(session: Any, name: str) -> None:
    runs[name] = runs.get(name, 0) + 1
    await session.execute(text("INSERT INTO written VALUES (:name)"), {"name": name})


async def _fail(session: Any, name: str, times: int, code: str) -> None:
    if runs[name] > times:
        return
    if code == "dead":
        await session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    raise_it = f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{code}'; END $$"
    await session.execute(text(raise_it))


@router.post("/write/{name}", status_code=201)
async def write(name: str, session: Session) -> str:
    """Written once; a trigger of the test may fail the commit."""
    await _write(session, name)
    return name


@router.post("/write-again/{name}", status_code=201)
@idempotent()
async def write_again(name: str, session: Session) -> str:
    await _write(session, name)
    return name


@router.post("/fail/{name}", status_code=201)
async def fail(name: str, times: int, code: str, session: Session) -> str:
    """Fails the first ``times`` with the error ``code``; ``dead``: its connection is gone."""
    await _write(session, name)
    await _fail(session, name, times, code)
    return name


@router.post("/repeat/{name}", status_code=201)
@idempotent()
async def repeat(name: str, times: int, code: str, session: Session) -> str:
    await _write(session, name)
    await _fail(session, name, times, code)
    return name


@router.post("/repeat-with/{name}", status_code=201)
@idempotent(given="key")
async def repeat_with(
    name: str, times: int, code: str, session: Session, key: str | None = None
) -> str:
    await _write(session, name)
    await _fail(session, name, times, code)
    return name


@router.post("/sleep/{name}", status_code=201)
async def sleep(name: str, seconds: float, session: Session) -> str:
    await _write(session, name)
    await session.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})
    return name


@router.post("/read/{name}")
async def write_in_a_read_session(name: str, session: ReadSession) -> str:
    await _write(session, name)
    return name


@router.post("/read-and-change/{name}")
async def change_in_a_read_session(name: str, session: ReadSession) -> str:
    """Changes what it has read in memory only."""
    row = await session.get_one(Written, name)
    row.name += " changed"
    return row.name


@router.post("/read-and-lose/{name}")
async def lose_a_read_session(name: str, session: ReadSession, request: Request) -> str:
    """Its connection dies after the last statement."""
    pid = await session.scalar(text("SELECT pg_backend_pid()"))
    async with request.app.state.service.components["database"].sessions() as other:
        await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    return name


@router.get("/timeout")
async def timeout(session: Session) -> str:
    """The timeout of statements in this transaction."""
    return str(await session.scalar(text("SHOW statement_timeout")))


@router.get("/runs/{name}")
async def show_runs(name: str) -> int:
    return runs.get(name, 0)


@router.get("/nothing")
async def nothing(session: Session) -> str:
    """Needs no connection."""
    return "nothing"


def main() -> int:
    signals = Signals()
    signals.install()
    settings = environment.load()
    app = FastAPI(responses=problems.RESPONSES)
    problems.install(app)
    database_errors.install(app)
    app.include_router(router)
    database = Component("database", lambda: pool.open_pool(settings.database))
    service = Service(app, wiring.options(settings), components=[database])
    app.state.service = service
    wiring.configure_logging(service, settings)
    return service.run(signals)


if __name__ == "__main__":
    sys.exit(main())
