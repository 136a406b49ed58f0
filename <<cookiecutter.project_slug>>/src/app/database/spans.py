"""Spans of statements, with the names of OpenTelemetry's stable conventions for databases.

A statement within a request or task that is not recorded costs a look at the current span.
Neither the text of a statement nor its parameters are in a span: both can hold secrets.
"""

import re
from functools import lru_cache
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from app.database.address import Address
from app.observability.lines import type_of

_tracer = trace.get_tracer("app")
_operation = re.compile(r"[A-Za-z]+").search
_table = re.compile(r"(?i)\b(?:FROM|INTO|UPDATE|JOIN)\s+(?:ONLY\s+)?([\w.\"]+)").search
#: Where a span is kept in SQLAlchemy's context of a statement.
KEPT = "app_span"


def watch(engine: AsyncEngine, address: Address) -> None:
    """Write a span for each statement of ``engine``."""
    common: dict[str, str | int] = {
        "db.system.name": "postgresql",
        "db.namespace": address.name,
        "server.address": address.host,
        "server.port": address.port,
    }

    def begins(
        _connection: object,
        _cursor: object,
        statement: str,
        _given: object,
        context: Any,
        _many: bool,
    ) -> None:
        if not trace.get_current_span().is_recording():
            return
        summary, known = described(statement)
        setattr(
            context,
            KEPT,
            _tracer.start_span(summary, kind=SpanKind.CLIENT, attributes={**common, **known}),
        )

    event.listen(engine.sync_engine, "before_cursor_execute", begins)
    event.listen(engine.sync_engine, "after_cursor_execute", _ended)
    event.listen(engine.sync_engine, "handle_error", _failed)


@lru_cache(1000)
def described(statement: str) -> tuple[str, dict[str, str]]:
    """The summary of ``statement``, such as ``SELECT notes``, and the attributes that it gives."""
    operation, table = _operation(statement), _table(statement)
    parts = {
        "db.operation.name": operation[0].upper() if operation else "",
        "db.collection.name": table[1].replace('"', "") if table else "",
    }
    known = {name: part for name, part in parts.items() if part}
    summary = " ".join(known.values()) or "postgresql"
    return summary, {**known, "db.query.summary": summary}


def _ended(
    _connection: object, _cursor: object, _statement: str, _given: object, context: Any, _many: bool
) -> None:
    span: Span | None = getattr(context, KEPT, None)
    if span is not None:
        span.end()


def _failed(context: ExceptionContext) -> None:
    span: Span | None = getattr(context.execution_context, KEPT, None)
    if span is None or not span.is_recording():
        return
    error = context.original_exception
    code = getattr(error, "sqlstate", None)
    if code:
        span.set_attribute("db.response.status_code", code)
    span.set_attribute("error.type", code or type_of(error))
    span.set_status(StatusCode.ERROR)
    span.end()
