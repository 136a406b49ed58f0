"""A service with a buffer in front of a table of PostgreSQL, and a sink that can be broken."""

import asyncio
import json
import os
import sys
from pathlib import Path

import asyncpg
from fastapi import FastAPI, HTTPException

from app import environment, wiring
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals
from app.work.buffer import Batch, Buffer
from app.work.errors import Busy, Rejected

app = FastAPI()
#: What the sink does: nothing, fail, hang, reject.
sink = {"does": os.environ.get("SINK", "")}


async def store(batch: Batch) -> None:
    if sink["does"] == "fail":
        raise ConnectionError("the sink is down")
    if sink["does"] == "hang":
        await asyncio.sleep(3600)
    if any(item.get("bad") for item in batch.items):
        raise Rejected("a bad item")
    if any(item.get("poison") for item in batch.items):
        raise ValueError("poison")
    rows = [(batch.id, n, json.dumps(item)) for n, item in enumerate(batch.items)]
    connection = await asyncpg.connect(os.environ["APP_DATABASE__URL"])
    try:
        async with connection.transaction():
            await connection.executemany(
                "INSERT INTO sunk VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", rows
            )
            await asyncio.sleep(float(os.environ.get("COMMIT_SECONDS", "0")))
    finally:
        await connection.close()


buffer = Buffer(
    "events",
    store,
    Path(os.environ["FOLDER"]),
    size=int(os.environ.get("SIZE", "10000")),
    interval=float(os.environ.get("INTERVAL", "1")),
    batch=int(os.environ.get("BATCH", "100")),
    on_lost=lambda what: app.state.service.journal.cut.append(what),
)


AUDIT_FOLDER = os.environ.get("AUDIT_FOLDER", os.environ["FOLDER"] + "-audit")
audit = Buffer("audit", store, Path(AUDIT_FOLDER))


@app.post("/items/{number}", status_code=202)
async def put(number: int, bad: bool = False, poison: bool = False) -> None:
    marks = {name: True for name, is_set in (("bad", bad), ("poison", poison)) if is_set}
    try:
        buffer.put({"number": number, **marks})
    except Busy as error:
        raise HTTPException(503, str(error)) from error


@app.post("/many/{count}", status_code=202)
async def many(count: int) -> None:
    for number in range(count):
        buffer.put({"number": number})


@app.post("/thread/{number}", status_code=202)
def put_from_thread(number: int) -> None:
    buffer.put({"number": number})


@app.post("/sink/{does}")
async def change(does: str) -> None:
    sink["does"] = does


@app.get("/status")
async def status() -> dict[str, object]:
    return buffer.status()


def main() -> int:
    signals = Signals()
    signals.install()
    settings = environment.load()
    seconds = float(os.environ.get("STOP_TIMEOUT", "60"))
    components = [
        Component("events", buffer.open, stop_timeout=seconds),
        Component("audit", audit.open),
    ]
    service = Service(app, wiring.options(settings), components=components)
    app.state.service = service
    wiring.configure_logging(service, settings)
    return service.run(signals)


if __name__ == "__main__":
    sys.exit(main())
