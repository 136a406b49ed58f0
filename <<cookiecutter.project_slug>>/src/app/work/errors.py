"""What buffers raise, and what sinks and handlers raise."""

from app.database.errors import Unavailable


class Busy(Unavailable):
    """A buffer takes nothing now, and has taken nothing: try again later. 503."""


class Rejected(Exception):  # noqa: N818
    """Raised by a sink or a handler for what it will never take: it is not tried again."""
