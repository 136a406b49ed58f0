"""The revisions that this version knows, by the names of their files: ``0001_notes.py``.

The numbers order them, so that the service can tell an older schema from a newer one without
Alembic, and without reading a file.
"""

from enum import Enum
from pathlib import Path

FOLDER = Path(__file__).with_name("versions")


class State(Enum):
    """A schema, compared with the one that this version needs."""

    CURRENT = "current"
    OLDER = "older"
    #: A newer version has migrated it: fine, as long as migrations expand before they contract.
    NEWER = "newer"


def known() -> dict[str, str]:
    """The revisions and what each is for, oldest first."""
    names = sorted(path.stem for path in FOLDER.glob("[0-9]*.py"))
    return {number: slug.replace("_", " ") for number, _, slug in (n.partition("_") for n in names)}


def needed() -> str | None:
    """The newest revision; None if there is none."""
    return max(known(), default=None)


def compare(found: str | None) -> State:
    """Compare the revision ``found`` in a database; None: it has no schema yet.

    One that this version does not know counts as newer: nothing removes a revision.
    """
    newest = needed()
    if found == newest:
        return State.CURRENT
    return State.OLDER if found is None or (newest and found in known()) else State.NEWER


def describe(found: str | None) -> str:
    """One sentence: which revision a schema has, which one is needed, and the remedy."""
    newest = needed()
    has = "The database has no schema yet" if found is None else f"The schema is at {title(found)}"
    match compare(found):
        case State.OLDER:
            return f"{has}, but this version needs {title(newest)}: run `python -m app migrate`."
        case State.NEWER:
            return f"{has}, newer than {title(newest)} of this version, which can use it."
        case _:
            return f"{has}, as this version needs." if found else "There are no revisions yet."


def title(number: str | None) -> str:
    """``0001 (notes)``, or the number alone if this version does not know it."""
    name = known().get(number or "")
    return f"{number} ({name})" if name else str(number)
