"""The routes of notes."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import delete, func, select, update

from app.api import idempotency, versions
from app.api.cursors import Cursor, cursor
from app.api.database_errors import conflict
from app.api.idempotency import IdempotencyKey
from app.api.notes.models import Note
from app.api.notes.schemas import NoteIn, NoteOut, Page
from app.api.versions import IfMatch, IfNoneMatch
from app.database.retry import idempotent
from app.database.session import ReadSession, Session

router = APIRouter(prefix="/notes", tags=["notes"])

NoteId = Annotated[int, Path(ge=1, lt=2**63)]


@router.get("")
@idempotent()
async def list_notes(
    session: ReadSession,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Cursor = None,
) -> Page:
    """The newest first. ``after`` is the field ``next`` of the page before."""
    query = select(Note).order_by(Note.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Note.id < after)
    found = (await session.scalars(query)).all()
    items = [NoteOut.model_validate(note) for note in found[:limit]]
    return Page(items=items, next=cursor(items[-1].id) if len(found) > limit else None)


@router.post("", status_code=201, response_model=NoteOut, responses=idempotency.RESPONSES)
@idempotent(given="key")
async def create_note(
    new: NoteIn, session: Session, key: IdempotencyKey, request: Request
) -> Response:
    """With an ``Idempotency-Key`` the request can be repeated until it succeeds."""
    if key and (answer := await key.answer(session)):
        return answer
    note = Note(**new.model_dump())
    session.add(note)
    with conflict("uq_notes_slug", "another note has this slug"):
        await session.flush()
    headers = {"Location": f"{request.scope.get('root_path', '')}/notes/{note.id}"}
    response = JSONResponse(_json(note), 201, {**headers, **versions.etag(note.version)})
    if key:
        await key.keep(session, response)
    return response


@router.get("/{note_id}", response_model=NoteOut, responses=versions.READ)
@idempotent()
async def show_note(
    note_id: NoteId, session: ReadSession, if_none_match: IfNoneMatch = None
) -> Response:
    note = await session.get(Note, note_id)
    if note is None:
        raise HTTPException(404, "there is no such note")
    etag = versions.etag(note.version)
    if versions.unchanged(if_none_match, note.version):
        return Response(status_code=304, headers=etag)
    return JSONResponse(_json(note), headers=etag)


# Not idempotent: repeated, a change that was made finds its own version and fails.
@router.put("/{note_id}", response_model=NoteOut, responses=versions.CHANGED)
async def change_note(
    note_id: NoteId, new: NoteIn, session: Session, expected: IfMatch
) -> Response:
    """Only the version that the client has seen is changed: ``If-Match`` names it."""
    statement = (
        update(Note)
        .where(Note.id == note_id, *expected.condition(Note.version))
        .values(**new.model_dump(), version=Note.version + 1, updated_at=func.now())
        .returning(Note)
    )
    with conflict("uq_notes_slug", "another note has this slug"):
        note = (await session.scalars(statement)).first()
    if note is None:
        raise await _missing(session, note_id)
    return JSONResponse(_json(note), headers=versions.etag(note.version))


@router.delete("/{note_id}", status_code=204, responses=versions.CHANGED)
async def delete_note(note_id: NoteId, session: Session, expected: IfMatch) -> None:
    condition = Note.id == note_id, *expected.condition(Note.version)
    found = await session.scalar(delete(Note).where(*condition).returning(Note.id))
    if found is None:
        raise await _missing(session, note_id)


async def _missing(session: Session, note_id: int) -> HTTPException:
    """Why no row was changed."""
    if await session.scalar(select(Note.id).where(Note.id == note_id)):
        return versions.changed()
    return HTTPException(404, "there is no such note")


def _json(note: Note) -> dict[str, Any]:
    return NoteOut.model_validate(note).model_dump(mode="json")
