"""How a request, a stream or a job is lost."""

from enum import StrEnum


class Reason(StrEnum):
    """How a request is lost."""

    NO_ENDPOINT = "no endpoint"
    REFUSED = "refused"
    RESET = "reset"
    CLOSED = "closed without an answer"
    TRUNCATED = "cut off in the answer"
    TIMEOUT = "timed out"
    STATUS = "answered"
    MALFORMED = "answered no HTTP"
    STREAM = "ended without its proper end"
    UNDONE = "never done"


class Lost(Exception):  # noqa: N818
    """A request, or a stream, did not get its answer."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason} {detail}".strip())
        self.reason = reason
        self.detail = detail
