"""The errors of tasks that run side by side, as one."""

from collections.abc import Iterator
from contextlib import contextmanager

from drill.errors import DrillError


@contextmanager
def one_error() -> Iterator[None]:
    """Of a group of errors only one goes on: that which says what is wrong with the drill."""
    try:
        yield
    except ExceptionGroup as group:
        errors = list(leaves(group))
        raise next((e for e in errors if isinstance(e, DrillError)), errors[0]) from None


def leaves(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from leaves(error)
        else:
            yield error
