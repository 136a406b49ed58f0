"""The example resource written plainly with SQLAlchemy, in the same service: what the example is compared with."""

import os
import sys
from collections.abc import AsyncIterator
from typing import Annotated, Any

from app import wiring
from app.api import examples, mails, problems
from app.api.notes.models import Note
from app.api.notes.schemas import NoteIn, NoteOut
from app.environment import load
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Path, Response
from fastapi.responses import JSONResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

url = os.environ["APP_DATABASE__URL"].replace("postgresql:", "postgresql+asyncpg:")
sessions = async_sessionmaker(create_async_engine(url, pool_size=10, max_overflow=0), expire_on_commit=False)
router = APIRouter(prefix="/notes")


async def _session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session, session.begin():
        yield session


Session = Annotated[AsyncSession, Depends(_session, scope="function")]
Text = Annotated[str | None, Header(max_length=1000)]


@router.get("")
async def show_all(session: Session) -> list[NoteOut]:
    return [NoteOut.model_validate(note) for note in await session.scalars(select(Note).limit(20))]


@router.post("", status_code=201, response_model=NoteOut)
async def create(new: NoteIn, session: Session, idempotency_key: Text = None) -> Response:
    note = Note(**new.model_dump())
    session.add(note)
    await session.flush()
    headers = {"Location": f"/notes/{note.id}", "ETag": f'"{note.version}"'}
    return JSONResponse(NoteOut.model_validate(note).model_dump(mode="json"), 201, headers)


@router.get("/{note_id}", response_model=NoteOut)
async def show(note_id: Annotated[int, Path(ge=1, lt=2**63)], session: Session, if_none_match: Text = None) -> Response:
    note = await session.get(Note, note_id)
    if note is None:
        raise HTTPException(404)
    headers = {"ETag": f'"{note.version}"'}
    if if_none_match == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return JSONResponse(NoteOut.model_validate(note).model_dump(mode="json"), headers=headers)


def main() -> Any:
    signals = Signals()
    signals.install()
    settings = load()
    app = FastAPI(responses=problems.RESPONSES)
    problems.install(app)
    app.state.settings = settings
    app.include_router(examples.router)
    app.include_router(mails.router)  # as many routes are tried before as in the service
    app.include_router(router)
    service = Service(app, wiring.options(settings))
    wiring.configure_logging(service, settings)
    return service.run(signals)


if __name__ == "__main__":
    sys.exit(main())
