"""The id that all log lines of one request share."""

import random
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Protocol

HEADER = b"x-request-id"


class Identified(Protocol):
    """A request; its id is worked out when somebody first asks for it."""

    @property
    def request_id(self) -> str: ...


#: The request this code runs for; None outside of one.
current_request: ContextVar[Identified | None] = ContextVar("current_request", default=None)

_acceptable = re.compile(rb"[\w.:/+=@-]{1,128}").fullmatch


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Take over the caller's ``X-Request-ID``, or make one of 16 hexadecimal digits.

    A value longer than 128 characters, or with others than letters, digits and
    ``_.:/+=@-``, is not taken over: it would end up in every log line.
    """
    for name, value in headers:
        if name == HEADER and _acceptable(value):
            return value.decode("ascii")
    return f"{random.getrandbits(64):016x}"
