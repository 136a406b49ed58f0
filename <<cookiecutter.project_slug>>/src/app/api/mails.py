"""An example of work that outlives its request: 202, and a mail that is sent at least once."""

from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, HTTPException, Path, Response
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from app.database.session import ReadSession, Session
from app.work import outbox
from app.work.models import OutboxMessage

log = structlog.get_logger(__name__)

router = APIRouter(prefix="/mails", tags=["mails"])

TOPIC = "mail"


class Mail(BaseModel):
    """What is to be sent."""

    to: str = Field(min_length=3, max_length=320)
    subject: str = Field(min_length=1, max_length=200)


class Progress(BaseModel):
    """How far a mail is. Dead: it was given up."""

    id: int
    state: Literal["pending", "done", "dead"]
    attempts: int


@router.post("", status_code=202)
async def send_later(mail: Mail, session: Session, response: Response) -> Progress:
    """The promise is committed before the client gets its 202."""
    message = await outbox.add(session, TOPIC, mail.model_dump())
    response.headers["location"] = f"/mails/{message}"
    return Progress(id=message, state="pending", attempts=0)


@router.get("/{mail_id}")
async def show(mail_id: Annotated[int, Path(ge=1, lt=2**63)], session: ReadSession) -> Progress:
    row = await session.get(OutboxMessage, mail_id)
    if row is None or row.topic != TOPIC:
        raise HTTPException(404, "no such mail, or it was sent long ago")
    return Progress.model_validate(row, from_attributes=True)


async def send(message: outbox.Message, _session: AsyncSession) -> None:
    """The handler. A real one gives ``message.id`` to the mail server as an idempotency key."""
    mail = Mail.model_validate(message.payload)
    log.info("mail sent", mail=message.id, subject=mail.subject)
