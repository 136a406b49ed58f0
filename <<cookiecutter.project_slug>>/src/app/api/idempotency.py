"""``Idempotency-Key``: a request that a client repeats is served once, and answered as before.

The key, a hash of the request and the response are stored in the transaction of the request
itself, so they are there if and only if its changes are.
"""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Header, HTTPException, Request, Response
from sqlalchemy import delete, func, literal, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import problems
from app.database.idempotency_keys import IdempotencyKey as Row

if TYPE_CHECKING:
    from app.database.pool import Pool

#: How long a response is kept.
KEPT = timedelta(days=1)
#: How many expired keys are deleted at once.
BATCH = 1000

#: Entries of ``responses`` of a route that takes keys.
RESPONSES: dict[int | str, dict[str, Any]] = {
    409: {
        **problems.RESPONSES["default"],
        "description": "A request with the same key is being served",
    },
    422: {
        **problems.RESPONSES["default"],
        "description": "Invalid, or the key was used for another request",
    },
}


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a request.

    Ask for the answer before anything else, and keep it last::

        if key and (answer := await key.answer(session)):
            return answer
        ...
        response = JSONResponse(...)
        if key:
            await key.keep(session, response)
        return response
    """

    #: Method and path. With callers that are known, add who it is: keys are the caller's own.
    route: str
    key: str
    request: bytes

    async def answer(self, session: AsyncSession) -> Response | None:
        """The response that the first request got; None: this one is the first.

        Raises HTTPException with 409 while the first one runs, and with 422 if the key came
        with another request.
        """
        lock = func.pg_try_advisory_xact_lock(func.hashtextextended(self.route + self.key, 0))
        claim = insert(Row).from_select(
            ["route", "key", "request", "expires_at"],
            select(
                literal(self.route), literal(self.key), literal(self.request), func.now() + KEPT
            ).where(lock),
        )
        new = claim.excluded
        claim = claim.on_conflict_do_update(
            index_elements=[Row.route, Row.key],
            set_={"request": new.request, "status": None, "expires_at": new.expires_at},
            where=Row.expires_at < func.now(),
        )
        if (await session.execute(claim.returning(Row.key))).first():
            return None
        ours = Row.route == self.route, Row.key == self.key
        stored = select(Row.request, Row.status, Row.headers, Row.body).where(*ours)
        found = (await session.execute(stored)).first()
        if found is None:
            later = {"Retry-After": "1"}
            raise HTTPException(409, "a request with this Idempotency-Key is being served", later)
        if found.request != self.request:
            raise HTTPException(422, "this Idempotency-Key was used for another request")
        headers = {**found.headers, "Idempotency-Replayed": "true"}
        return Response(found.body, found.status, headers)

    async def keep(self, session: AsyncSession, response: Response) -> None:
        """Store the response, to be committed with the session."""
        headers = dict(response.headers.items())
        headers.pop("content-length", None)
        await session.execute(
            update(Row)
            .where(Row.route == self.route, Row.key == self.key)
            .values(status=response.status_code, headers=headers, body=bytes(response.body))
        )


async def _key(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            description="Names the request: repeated with the same key, it is served once.",
        ),
    ] = None,
) -> Key | None:
    if idempotency_key is None:
        return None
    route = f"{request.method} {request.url.path}"[:200]
    return Key(route, idempotency_key, hashlib.sha256(await request.body()).digest())


IdempotencyKey = Annotated[Key | None, Depends(_key)]
"""The key of a request; None if its client gave none."""


async def forget_expired(pool: "Pool") -> None:
    """Delete the keys that have expired; a periodic task."""
    expired = select(Row.route, Row.key).where(Row.expires_at < func.now()).limit(BATCH)
    batch = delete(Row).where(
        tuple_(Row.route, Row.key).in_(expired.with_for_update(skip_locked=True))
    )
    deleted = BATCH
    while deleted == BATCH:
        async with pool.sessions.begin() as session:
            deleted = len((await session.execute(batch.returning(Row.key))).all())
