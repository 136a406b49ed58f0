"""Errors as problem details (RFC 9457): the form of every error that this service sends."""

import json
from http import HTTPStatus

MEDIA_TYPE = "application/problem+json"


def problem(status: int, detail: str, request_id: str = "", **members: object) -> dict[str, object]:
    """The members of a problem without a type of its own; its title is the status's phrase.

    ``detail`` is for the client: it must not tell how the service works inside. ``members``
    are extensions, and may replace the standard ones. No ``request_id``: there is no whole
    request yet.
    """
    try:
        title = HTTPStatus(status).phrase
    except ValueError:  # not registered
        title = "Error"
    found = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    own = {"request_id": request_id} if request_id else {}
    return {**found, **own, **members}


def encode(members: dict[str, object]) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and the body of a response with this problem."""
    body = json.dumps(members).encode()
    length = str(len(body)).encode()
    return [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", length)], body
