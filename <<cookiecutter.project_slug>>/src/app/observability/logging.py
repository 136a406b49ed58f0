"""Logs: one JSON object a line, or colours on a terminal; one pipe for all of them."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from app.observability.pipe import STDOUT, Pipe
from app.observability.request_id import current_request

log = structlog.get_logger(__name__)

Format = Literal["auto", "json", "console"]


def configure(
    level: str, form: Format, context: Callable[[], Mapping[str, object]] = lambda: {}
) -> Pipe:
    """Route structlog, the standard library's loggers and warnings to stdout; return its pipe.

    So go errors that nobody catches in threads and finalizers: standard error may be
    blocked as well. ``form`` "auto" means console on a terminal, JSON elsewhere.
    ``context`` is asked for fields that every line carries.
    """

    def add_context(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for key, value in context().items():
            event.setdefault(key, value)
        if (request := current_request.get()) is not None:
            event.setdefault("request_id", request.request_id)
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
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        renderer = [
            _printable_values,
            structlog.dev.ConsoleRenderer(exception_formatter=_traceback),
        ]
    handler = logging.StreamHandler(STDOUT)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)
    threading.excepthook = _thread_failed
    sys.unraisablehook = _error_ignored
    # uvicorn tells of each server it starts and of each WebSocket; the phases say it once.
    if level != "debug":
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
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


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    error = failed.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = failed.thread.name if failed.thread is not None else ""
        log.error("thread failed", thread=name, exc_info=error)


def _error_ignored(ignored: "sys.UnraisableHookArgs") -> None:
    # What failed is told by its name: the object itself may be half gone.
    where = getattr(ignored.object, "__qualname__", type(ignored.object).__name__)
    log.error("error in a finalizer", where=where, exc_info=ignored.exc_value)


def printable(text: str) -> str:
    """``text`` with escapes for what would break the line, move the cursor or hide text.

    That is all that ``str.isprintable`` says no to: control characters, and those that
    change the direction of text, among others.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _printable_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Nothing that a client has sent forges a line on a terminal."""
    return {
        printable(key): value
        if key == "exc_info"
        else _indented(value)
        if key in ("exception", "stack")
        else printable(value if isinstance(value, str) else repr(value))
        for key, value in event.items()
    }


def _indented(text: str) -> str:
    """Lines of a traceback; an error's message may have more than one."""
    return "\n".join(f"  {printable(line.expandtabs())}" for line in text.splitlines())


def _traceback(out: TextIO, exc_info: ExcInfo) -> None:
    out.write("\n" + _indented("".join(traceback.format_exception(*exc_info))))


def is_json(form: Format) -> bool:
    return form == "json" or (form == "auto" and not sys.stdout.isatty())
