"""Spans of calls to other services. Import it where a client is opened: it imports httpx2."""

from typing import Any

import httpx2
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from app.observability.lines import redacted
from app.observability.spans import METHODS, failed

_tracer = trace.get_tracer("app")


class AsyncClient(httpx2.AsyncClient):
    """An ``httpx2.AsyncClient`` with a span for each call, redirects included.

    The span ends with the body of the response, or with its headers if that is streamed. Pass
    ``deadline.propagate`` as an event hook: it tells the called service of the span.
    """

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        url = request.url
        method = request.method if request.method in METHODS else "_OTHER"
        with _tracer.start_as_current_span(
            method.replace("_OTHER", "HTTP"), kind=SpanKind.CLIENT, record_exception=False
        ) as span:
            if span.is_recording():
                span.set_attributes(
                    {
                        "http.request.method": method,
                        # Without the query and the user, which may be secret.
                        "url.full": redacted(f"{url.scheme}://{url.netloc.decode()}{url.path}"),
                        "server.address": url.host,
                        "server.port": url.port or (443 if url.scheme == "https" else 80),
                    }
                )
            try:
                response = await super().send(request, **options)
            except BaseException as error:
                failed(span, error)
                raise
            span.set_attribute("http.response.status_code", response.status_code)
            if response.is_error:
                span.set_attribute("error.type", str(response.status_code))
                span.set_status(StatusCode.ERROR)
            return response
