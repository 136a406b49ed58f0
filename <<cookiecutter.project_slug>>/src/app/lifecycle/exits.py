"""The exit codes of ``python -m app serve``."""

from enum import IntEnum


class Exit(IntEnum):
    """An exit code and its meaning. A third signal n ends the process with 128 + n."""

    meaning: str

    CLEAN = 0, "Stopped, and nothing was cut off"
    CUT = 1, "Stopped, and something was cut off: the last log line names it"
    USAGE = 2, "Wrong settings or usage: a line on standard error for each"
    NOT_STARTED = 3, "Could not start: for example, a port is taken or a component did not open"

    def __new__(cls, code: int, meaning: str) -> "Exit":
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member
