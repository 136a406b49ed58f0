"""The size of a request body, counted while the application reads it.

A request whose body is not read pays nothing. FastAPI's own ``max_body_size``, of the
application, a router or a route, replaces the limit of the settings: it tells the scope.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from app.lifecycle.asgi import Message, Receive, Scope, Send
from app.lifecycle.http.problem import encode, problem

if TYPE_CHECKING:
    from app.lifecycle.http.exchange import Exchange

#: Where Starlette 1.10 and later keep the limit that applies to the route.
MAX_BODY_SIZE_SCOPE_KEY = "starlette.max_body_size"
#: Seconds for which the rest of a body is read and discarded: closing a connection with
#: unread bytes makes the kernel reset it, and the client may lose the response.
DISCARD = 1.0


def has_header(scope: Scope, *names: bytes) -> bool:
    """Whether the request has one of these headers."""
    return any(name in names for name, _ in scope["headers"])


def has_body(scope: Scope) -> bool:
    """Whether the request has a body (RFC 9112, section 6.3)."""
    return has_header(scope, b"content-length", b"transfer-encoding")


class Body:
    """How much of a body has been read; ``limit`` is in bytes, 0 means none.

    FastAPI reads a body before the dependencies of a route run, so a dependency cannot
    change the limit.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._default = limit
        #: Bytes read so far.
        self.read = 0

    @property
    def limit(self) -> float:
        """The limit that applies; a route that is not known yet may still set its own."""
        own = self._scope.get(MAX_BODY_SIZE_SCOPE_KEY)
        return own if own is not None else (self._default or float("inf"))

    def announced_too_large(self) -> bool:
        """Whether the client says that it is too large, before any of it is read."""
        for name, value in self._scope["headers"]:
            if name == b"content-length":  # the parser has checked that it is a number
                return int(value) > self.limit
        return False

    def too_large(self, part: bytes) -> bool:
        """Count a ``part``; whether the body has become too large with it."""
        self.read += len(part)
        return self.read > self.limit

    async def refuse(self, exchange: "Exchange") -> Message:
        """Answer 413 if no response has started; the handler sees its client as gone."""
        if exchange.status == 0:
            await self._answer(exchange)
        exchange.answered = True
        return {"type": "http.disconnect"}

    async def _answer(self, exchange: "Exchange") -> None:
        detail = f"the body of the request is larger than {self.limit:.0f} bytes"
        headers, body = encode(
            problem(413, detail, exchange.request_id, title="Content Too Large")  # RFC 9110
        )
        headers.append((b"connection", b"close"))
        # The client has the whole response before the connection is closed.
        await exchange.send({"type": "http.response.start", "status": 413, "headers": headers})
        await exchange.send({"type": "http.response.body", "body": body, "more_body": True})
        exchange.answered = exchange.complete = True
        if not has_header(self._scope, b"expect"):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DISCARD):
                    while (await self._receive()).get("more_body", False):
                        pass
        await self._send({"type": "http.response.body", "body": b""})
