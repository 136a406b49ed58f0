"""Logs: one JSON object per line, or colours on a terminal, with the id of the request."""

import logging
import random
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Literal, Protocol, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from app.observability import (
    lines,
#% if cookiecutter.tracing == "opentelemetry"
    spans,
#% endif
)
from app.observability.pipe import STDOUT, Pipe

log = structlog.get_logger(__name__)

Format = Literal["auto", "json", "console"]
LEVELS = ("debug", "info", "warning", "error")


class HasRequestId(Protocol):
    """A request; its id is computed on first use."""

    @property
    def request_id(self) -> str: ...


#: The request that this code runs for; None outside a request.
current_request: ContextVar[HasRequestId | None] = ContextVar("current_request", default=None)

_valid_id = re.compile(rb"[\w.:/+=@-]{1,128}").fullmatch


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's ``X-Request-ID``, or a new one of 16 hexadecimal digits.

    A value longer than 128 characters, or with characters other than letters, digits and
    ``_.:/+=@-``, is not accepted: it would appear in every log line.
    """
    for name, value in headers:
        if name == b"x-request-id" and _valid_id(value):
            return value.decode("ascii")
    return f"{random.getrandbits(64):016x}"


def configure(
    lowest: str, form: Format, context: Callable[[], Mapping[str, object]] = lambda: {}
) -> Pipe:
    """Send structlog, the standard library's loggers and warnings to stdout; return its pipe.

    Uncaught errors of threads and finalizers go there too: standard error may block as
    well. ``form`` "auto" means console on a terminal, JSON elsewhere. ``context`` returns
    the fields of every line.
    """

    def add_context(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for key, value in context().items():
            event.setdefault(key, value)
        if (request := current_request.get()) is not None:
            event.setdefault("request_id", request.request_id)
#% if cookiecutter.tracing == "opentelemetry"
        event.update(spans.ids())
#% endif
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso"),
        add_context,
    ]
    renderer: list[Processor]
    if is_json(form):
        renderer = [lines.add_error, lines.render]
    else:
        console = structlog.dev.ConsoleRenderer(exception_formatter=_traceback)
        renderer = [_printable_values, console]
    handler = logging.StreamHandler(STDOUT)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lines.redact,
                *renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], force=True)
    set_level(lowest)
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _error_ignored
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return STDOUT


def set_level(level: str) -> None:
    """Log from ``level`` on, one of LEVELS; from any thread."""
    logging.getLogger().setLevel(level.upper())
    # uvicorn logs each server start and each WebSocket; the phases and the access log suffice.
    # httpx2 logs each request that it sends, with its query.
    for name in ("uvicorn.error", "httpx2"):
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)


def level() -> str:
    """The lowest level that is logged."""
    return logging.getLevelName(logging.getLogger().level).lower()


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    error = failed.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = failed.thread.name if failed.thread is not None else ""
        log.error("thread failed", thread=name, exc_info=error)


def _error_ignored(ignored: "sys.UnraisableHookArgs") -> None:
    # Only the object's name: the object itself may be half destroyed.
    where = getattr(ignored.object, "__qualname__", type(ignored.object).__name__)
    log.error("error in a finalizer", where=where, exc_info=ignored.exc_value)


def printable(text: str) -> str:
    """Escape what is not printable, such as control characters and changes of text direction.

    It could break the line, move the cursor or hide text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _printable_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep clients from forging log lines on a terminal."""
    shown: EventDict = {}
    for key, value in event.items():
        if key in ("exception", "stack"):
            value = _indented(value)
        elif key != "exc_info":
            value = printable(lines.redacted(value if isinstance(value, str) else repr(value)))
        shown[printable(key)] = value
    return shown


def _indented(text: str) -> str:
    """Indent the lines of a traceback; an error's message may have several."""
    return "\n".join(f"  {printable(line.expandtabs())}" for line in text.splitlines())


def _traceback(out: TextIO, exc_info: ExcInfo) -> None:
    out.write("\n" + _indented(lines.redacted("".join(traceback.format_exception(*exc_info)))))


def is_json(form: Format) -> bool:
    return form == "json" or (form == "auto" and not sys.stdout.isatty())
