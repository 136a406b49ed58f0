"""A request or WebSocket as the logs, the metrics and the report of a stop see it."""

from functools import cached_property
from typing import Literal

from app.lifecycle.asgi import Receive, Scope
from app.lifecycle.http.deadlines import Cause
#% if cookiecutter.tracing == "opentelemetry"
from app.observability import spans
#% endif
from app.observability.logging import request_id_of

#: nginx's status for a client that closed the connection before its response was complete.
CLIENT_GONE = 499


class Request:
    """What it is, and how it went."""

    # The defaults are class attributes: a request pays only for what it uses.
    status = 0
    #: An event stream, a stream of records or an accepted WebSocket: a stop ends it in a
    #: step of its own, the drain does not wait for it. Known when the response starts.
    stream = False
    #: Bytes that the application has sent, as the body or in messages.
    sent = 0
    #: Why it was cancelled; empty if it was not.
    cause: Cause | Literal[""] = ""
    #: Cut off by a stop before it was done.
    cut = False
    #: The service has ended this stream.
    ended = False
    #: Answered 503 without reaching the application: ``shed``, or ``refused`` for coming too
    #: late; else empty.
    refused: Literal["", "shed", "refused"] = ""
    #: When the response was complete, on the monotonic clock; 0 before.
    responded = 0.0
#% if cookiecutter.tracing == "opentelemetry"
    #: Its span, if it is recorded.
    span: spans.Recorded | None = None
#% endif
    #: How a WebSocket ended: by its client, or by its handler.
    _client_left = _handler_closed = False
    _outcome: tuple[int, str] | None = None

    scope: Scope
#% if cookiecutter.tracing == "opentelemetry"
    #: Its ids for logs and exemplars.
    trace: spans.Trace
#% endif
    _receive: Receive

    @cached_property
    def request_id(self) -> str:
        """The id of this request in logs: the caller's, or a new one."""
        return request_id_of(self.scope["headers"])

    @property
    def method(self) -> str:
        return str(self.scope.get("method", "WS"))

    @property
    def path(self) -> str:
        return str(self.scope["path"])

    @property
    def name(self) -> str:
        """Method and path, for logs and reports."""
        return f"{self.method} {self.path}"

    @property
    def client_gone(self) -> bool:
        """Whether the connection was lost before the response was complete."""
        return bool(getattr(getattr(self._receive, "__self__", None), "disconnected", False))

    @property
    def left_because(self) -> Cause:
        """Why its client is gone: it has left, or was too slow for the service."""
        cause: Cause = self.scope.get("closed", ("client gone",))[0]
        return cause

    def outcome(self) -> tuple[int, str]:
        """The status for the log, and what ended it early: ``client``, ``slow body``, ``slow
        reader``, ``idle``, ``deadline``, ``stop`` or nothing.

        Valid when the handler is done, and computed once. Clients leave streams as a matter of
        course; one that leaves before its response is complete gets CLIENT_GONE.
        """
        if self._outcome is None:
            self._outcome = self._judge()
        return self._outcome

    def _judge(self) -> tuple[int, str]:
        status = self.status or 500  # the server's answer where a handler sends none
        if closed := self.scope.get("closed"):
            cause, answer = closed
            return answer or (status if self.stream else CLIENT_GONE), cause
        if self.cut or self.ended:
            return status, "stop"
        if self.cause == "deadline":
            return status, "deadline"
        if self._handler_closed or not (self._client_left or self.client_gone):
            return status, ""
        return (status if self.stream else CLIENT_GONE), "client"
