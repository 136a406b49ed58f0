"""What a request is answered when the database fails: problem details, 503 with ``Retry-After``."""

import contextlib
from collections.abc import Iterator

import structlog
from fastapi import FastAPI, HTTPException, Request, Response
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.api.problems import answer
from app.database.errors import OutcomeUnknown, Unavailable, meaning
from app.lifecycle.deadline import DeadlineExceeded

log = structlog.get_logger(__name__)

#: Seconds after which a client should try again.
RETRY_AFTER = "1"


def install(app: FastAPI) -> None:
    """Let ``app`` answer errors of the database with problem details."""
    app.add_exception_handler(Unavailable, _unavailable)
    app.add_exception_handler(OutcomeUnknown, _unknown)
    app.add_exception_handler(SQLAlchemyError, _database)


@contextlib.contextmanager
def conflict(constraint: str, detail: str) -> Iterator[None]:
    """Answer 409 with ``detail`` if ``constraint`` is violated; flush the session within::

    with conflict("uq_notes_slug", "another note has this slug"):
        await session.flush()
    """
    try:
        yield
    except IntegrityError as error:
        cause = error.orig.__cause__ if error.orig else None
        if getattr(cause, "constraint_name", None) != constraint:
            raise
        raise HTTPException(409, detail) from error


async def _database(request: Request, error: Exception) -> Response:
    assert isinstance(error, SQLAlchemyError)  # noqa: S101
    match meaning(error):
        case Unavailable() as unavailable:
            return await _unavailable(request, unavailable)
        case DeadlineExceeded():
            return answer(request, 504, "the request took longer than its deadline allows")
    raise error


async def _unavailable(request: Request, error: Exception) -> Response:
    headers = {"Retry-After": RETRY_AFTER}
    return answer(request, 503, f"{error}: try again later", headers)


async def _unknown(request: Request, error: Exception) -> Response:
    """No 503: that promises that nothing has changed, and invites routers to repeat the request."""
    log.error("outcome of a commit unknown", exc_info=error)
    return answer(
        request, 500, "the database was lost while it stored the changes: see whether it did"
    )
