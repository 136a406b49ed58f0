"""What the exit code of ``python -m app serve`` says."""

from enum import IntEnum


class Exit(IntEnum):
    """An exit code, and what it means. A third signal ends the process with 128 and its number."""

    meaning: str

    CLEAN = 0, "Stopped, and nothing was cut off"
    CUT = 1, "Stopped, and something was cut off: the last line of the log names it"
    USAGE = 2, "Wrong settings or usage: a line on standard error for each"
    NOT_STARTED = 3, "Could not start: a port is taken, a component did not open"

    def __new__(cls, code: int, meaning: str) -> "Exit":
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member
