"""What may be told: no secrets, neither in the log nor on ``/statusz``.

A log line also has errors as fields, and no more than 16 KiB.
"""

import json
import math
import re
import sys
import traceback
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from structlog.typing import EventDict, WrappedLogger

#: Most characters of a line, which are bytes: container runtimes split longer ones.
LONGEST = 16 * 1024 - 1
REDACTED = "[redacted]"
#: Fields that are kept if there are so many that each would get less than LEAST characters.
ESSENTIAL = ("event", "level", "timestamp", "logger", "request_id", "phase", "pod")
LEAST = 100
#: Levels below which a value is not looked into.
DEPTH = 5

_encode = json.JSONEncoder(default=repr).encode
_secret_key = re.compile(
    r"(?i)authorization|cookie|passw|passphrase|secret|token|credential|api[-_]?key|private[-_]?key"
).search
#: Settings are few, so more of them are hidden than keys of log lines.
_secret_setting = re.compile(r"(?i)pass|pwd|secret|token|key|credential|private|dsn").search
_user_of_url = re.compile(r"(?<=://)[^\s/@]+(?=@)")
#: What a text with a secret contains, in lower case, and the whole of the secret. In a line of
#: JSON they stand in strings only and have no quotes, so that the line stays JSON without them.
_SECRETS = {
    # With a digit or a capital: "basic authentication" is none.
    "bearer ": re.compile(r"(?i)(\bbearer +)(?-i:(?=[\w.~+/-]*[A-Z0-9]))[\w.~+/=-]{8,}"),
    "basic ": re.compile(r"(?i)(\bbasic +)(?-i:(?=[\w+/-]*[A-Z0-9]))[\w+/=-]{8,}"),
    "://": re.compile(r"(\w://[^\s/:@\"]*:)[^\s/@\"]+(?=@)"),
    "private key": re.compile(
        r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^-\"]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
    ),
    "eyj": re.compile(r"\b(eyJ)[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    **dict.fromkeys(
        ("password=", "passwd=", "secret=", "token=", "api_key=", "api-key=", "apikey="),
        re.compile(
            r"(?i)((?:password|passwd|secret|token|api[-_]?key)=)"
            r"(?:[^\s&\"'\\,;]|\\u[0-9a-f]{4})+"
        ),
    ),
}


@lru_cache(maxsize=1024)
def is_secret(key: str) -> bool:
    """Whether a value by this name is left out of the log."""
    return _secret_key(key) is not None


def redacted(text: str) -> str:
    """``text`` without what looks like a secret in it."""
    low = text.lower()
    for mark, secret in _SECRETS.items():
        if mark in low:
            text = secret.sub(rf"\1{REDACTED}", text)
    return text


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Leave out the values of keys that say they are secret."""
    for key, value in event.items():
        if key != "exc_info" and (is_secret(key) or isinstance(value, (dict, list, tuple))):
            event[key] = _without_secrets(key, value, DEPTH)
    return event


def _without_secrets(key: object, value: Any, depth: int) -> Any:
    if isinstance(key, str) and is_secret(key):
        # A number says how many tokens there were, or when a cookie expires.
        return value if value is None or isinstance(value, (bool, int, float)) else REDACTED
    if depth and isinstance(value, dict):
        return {k: _without_secrets(k, v, depth - 1) for k, v in value.items()}
    if depth and isinstance(value, (list, tuple)):
        return [_without_secrets(None, one, depth - 1) for one in value]
    return value


def masked(name: str, value: object) -> object:
    """``value`` of the setting ``name`` as JSON can hold it, without what is secret in it."""
    if value is None or value == "" or isinstance(value, bool):
        return value
    if _secret_setting(name) or hasattr(value, "get_secret_value"):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(key): masked(str(key), one) for key, one in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return [masked(name, one) for one in value]
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return redacted(_user_of_url.sub(REDACTED, str(value)))


def type_of(error: BaseException) -> str:
    """The name of the error's class, with its module unless it is built in."""
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"


def add_error(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace ``exc_info`` by ``exception_type``, ``exception_message`` and ``exception``."""
    given = event.pop("exc_info", None)
    if given and not isinstance(given, (BaseException, tuple)):
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["exception_type"] = type_of(error)
        event["exception_message"] = str(error)
        event["exception"] = "".join(traceback.format_exception(error)).rstrip("\n")
    return event


def render(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """The line, as JSON without secrets."""
    return line(event)


def line(event: EventDict) -> str:
    """``event`` as JSON in one line, without its break; the longest values are cut to fit."""
    text, room = _json(event), LONGEST
    while len(text) > LONGEST:
        room = room * 9 // 10
        text = _json(_shortened(event, room))
    return text


def _shortened(event: EventDict, room: int) -> EventDict:
    """``event`` in about ``room`` characters."""
    sizes = {key: len(_json({key: value})) for key, value in event.items()}
    left, most = room, 0
    for rest, size in zip(range(len(sizes), 0, -1), sorted(sizes.values()), strict=True):
        most = left // rest  # for each of the longer ones
        if size > most:
            break
        left -= size
    if most < LEAST:
        event = {key: event[key] for key in ESSENTIAL if key in event}
        most = room // len(ESSENTIAL)
    kept = {k: v if sizes[k] <= most else _cut(v, most / sizes[k]) for k, v in event.items()}
    return {**kept, "cut": True}


def _cut(value: Any, share: float) -> Any:
    """About this ``share`` of ``value``."""
    if isinstance(value, list):
        kept = int(len(value) * share)
        return [*value[:kept], f"... {len(value) - kept} more"]
    text = redacted(value) if isinstance(value, str) else _json(value)
    # The beginning says what it is, the end of a traceback what went wrong.
    half = int(len(text) * share / 2)
    return f"{text[:half]} ... {len(text) - 2 * half} characters cut ... {text[len(text) - half :]}"


def _json(value: Any) -> str:
    return redacted(_encode(value))
