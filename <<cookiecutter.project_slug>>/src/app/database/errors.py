"""What can go wrong with a database, and what each error means for a request."""

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.lifecycle.deadline import DeadlineExceeded

#: Codes after which another attempt at the same transaction may succeed: a serialization
#: failure and a deadlock.
CONFLICTS = frozenset({"40001", "40P01"})
#: Codes of a server that ends the session or does not begin one: it shuts down, has crashed, is
#: starting, ends what was idle for too long.
GOING = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03"})
#: The statement was cancelled: by a timeout or by somebody.
CANCELLED = "57014"
#: A lock was not to be had within ``lock_timeout``.
LOCKED = "55P03"
#: A write on a server that only reads: a standby, or a primary that has become one.
READ_ONLY = "25006"


class Unavailable(Exception):  # noqa: N818 (it is no error of the caller's)
    """The database cannot serve this now, and has changed nothing: try again later. 503."""


class OutcomeUnknown(Exception):  # noqa: N818
    """The connection was lost during a commit: the changes are all there, or none is. 500."""


def code(error: BaseException) -> str:
    """The error's code in PostgreSQL's list (SQLSTATE); empty if it has none."""
    found = getattr(getattr(error, "orig", error), "sqlstate", None)
    return found if isinstance(found, str) else ""


def lost(error: BaseException) -> bool:
    """Whether the connection is gone; what was not committed is undone."""
    if not isinstance(error, DBAPIError):
        return False
    found = code(error)
    return error.connection_invalidated or found.startswith("08") or found in GOING


def meaning(error: SQLAlchemyError) -> Exception | None:
    """What ``error`` means to whoever has sent the request; None: it is a bug of this service."""
    if isinstance(error, PoolTimeout):
        return Unavailable("all connections to the database are in use")
    if lost(error):
        return Unavailable("the connection to the database was lost")
    match code(error):
        case found if found in CONFLICTS:
            return Unavailable("other requests changed the same data")
        case found if found.startswith("53"):
            return Unavailable("the database is out of resources")
        case found if found == LOCKED:
            return Unavailable("the data is locked by another request")
        case found if found == CANCELLED and "timeout" in str(error):
            return DeadlineExceeded("the database took longer than the request has time")
        case found if found == CANCELLED:
            return Unavailable("the statement was cancelled")
    return None


def retryable(error: BaseException) -> bool:
    """Whether another attempt makes sense at once, for work that may be done twice."""
    return isinstance(error, OutcomeUnknown) or lost(error) or code(error) in CONFLICTS


def cause(error: BaseException) -> BaseException:
    """The error of the driver or the network below those of SQLAlchemy and of this package."""
    found = getattr(error, "orig", None) or error
    return found if isinstance(found, TimeoutError) else found.__cause__ or found


def described(error: BaseException) -> str:
    """Its cause and the first line of that, for the log and ``/statusz``."""
    found = cause(error)
    if isinstance(found, TimeoutError):
        return "no answer"
    first, *_ = str(found).splitlines() or [""]
    return f"{type(found).__name__}: {first}"
