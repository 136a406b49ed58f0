"""What handlers and sinks raise."""


class Busy(Exception):  # noqa: N818 (it is no error of the caller's)
    """A buffer takes nothing now, and has taken nothing: try again later. 503."""


class Rejected(Exception):  # noqa: N818
    """Raised by a sink or a handler for what it will never take: it is not tried again."""
