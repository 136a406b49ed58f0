"""``/statusz``: JSON, or a page for browsers. Imported when somebody asks for it."""

import json
from collections.abc import Mapping
from urllib.parse import parse_qs

from app.lifecycle.asgi import Scope
from app.lifecycle.management.server import Response

#: Most seconds after which the page loads itself again.
LONGEST_REFRESH = 3600
HEADERS = ((b"vary", b"accept"), (b"x-content-type-options", b"nosniff"))


def respond(scope: Scope, status: Mapping[str, object]) -> Response:
    """The ``status`` in the format that was asked for.

    ``?format=html`` or ``json`` says which; else a client whose Accept header names
    text/html gets the page. With ``?refresh=5`` that loads itself again every 5 s.
    """
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
    wanted = query.get("format", ["html" if prefers_html(accept.decode("latin-1")) else "json"])[0]
    if wanted not in ("html", "json"):
        return Response(400, f"format={wanted} is unknown: use format=html or format=json\n")
    refresh = query.get("refresh", ["0"])[0]
    if not (refresh.isdecimal() and len(refresh) < 5 and int(refresh) <= LONGEST_REFRESH):
        rule = f"must be a whole number of seconds up to {LONGEST_REFRESH}"
        return Response(400, f"refresh={refresh} {rule}: leave it out or use refresh=5\n")
    if wanted == "json":
        return Response(200, json.dumps(status), b"application/json", HEADERS)
    from app.lifecycle.management import statuspage

    return Response(
        200,
        statuspage.render(status, refresh=int(refresh)),
        b"text/html; charset=utf-8",
        (*HEADERS, (b"content-security-policy", statuspage.POLICY)),
    )


def prefers_html(accept: str) -> bool:
    """Whether ``accept`` names text/html, and JSON no more than that; ``*/*`` names neither."""
    found: dict[str, float] = {}
    for part in accept.split(","):
        kind, *parameters = (one.strip().lower() for one in part.split(";"))
        quality = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        try:
            found[kind] = float(quality)
        except ValueError:
            found[kind] = 0.0
    return found.get("text/html", 0.0) > 0 and found["text/html"] >= found.get(
        "application/json", 0.0
    )
