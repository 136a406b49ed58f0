"""A service with an outbox whose handlers work, wait, fail and kill."""

import asyncio
import os
import signal
import sys

from fastapi import FastAPI, HTTPException
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app import environment, wiring
from app.api import database_errors, problems
from app.database import pool
from app.database.session import Session
from app.lifecycle.components import Component
from app.lifecycle.phase import Phase
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals
from app.work import outbox, relay
from app.work.errors import Rejected

app = FastAPI(responses=problems.RESPONSES)
problems.install(app)
database_errors.install(app)


async def note(session: AsyncSession, what: str, number: int) -> None:
    statement = text("INSERT INTO effects VALUES (:what, :number)")
    await session.execute(statement, {"what": what, "number": number})


async def begun(what: str, number: int) -> None:
    """Written in a transaction of its own: it stays, whatever the handler does."""
    async with app.state.service.components["database"].sessions.begin() as session:
        await note(session, what, number)


async def write(message: outbox.Message, session: AsyncSession) -> None:
    await note(session, "written", message.payload["number"])


async def slow(message: outbox.Message, session: AsyncSession) -> None:
    await note(session, "slow", message.payload["number"])
    await begun("slow begun", message.payload["number"])
    await asyncio.sleep(message.payload["seconds"])


async def fail(message: outbox.Message, session: AsyncSession) -> None:
    await note(session, "failed", message.payload["number"])
    if message.attempt <= message.payload["times"]:
        raise LookupError(f"attempt {message.attempt}")


async def reject(_message: outbox.Message, _session: AsyncSession) -> None:
    raise Rejected("never")


async def kill(message: outbox.Message, _session: AsyncSession) -> None:
    await begun("killed", message.payload["number"])
    os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.sleep(60)


HANDLERS = {"write": write, "slow": slow, "fail": fail, "reject": reject, "kill": kill}


@app.post("/promise/{topic}/{number}", status_code=202)
async def promise(
    topic: str,
    number: int,
    session: Session,
    seconds: float = 0,
    times: int = 0,
    delay: float = 0,
    refuse: bool = False,
) -> int:
    payload = {"number": number, "seconds": seconds, "times": times}
    identity = await outbox.add(session, topic, payload, delay=delay)
    if refuse:
        raise HTTPException(409, "on purpose")
    return identity


def main() -> int:
    signals = Signals()
    signals.install()
    settings = environment.load()
    relay.CLEAN = float(os.environ.get("CLEAN_SECONDS", relay.CLEAN))
    relay.COUNT = min(relay.COUNT, relay.CLEAN)
    relays = relay.Relay(HANDLERS, settings.outbox, lambda: service.lifecycle.wait(Phase.DRAINING))
    timeout = float(os.environ.get("STOP_TIMEOUT", "30"))
    components = [
        Component("database", lambda: pool.open_pool(settings.database)),
        Component("outbox", relays.open, depends_on=("database",), stop_timeout=timeout),
    ]
    service = Service(app, wiring.options(settings), components=components)
    app.state.service = service
    wiring.configure_logging(service, settings)
    return service.run(signals)


if __name__ == "__main__":
    sys.exit(main())
