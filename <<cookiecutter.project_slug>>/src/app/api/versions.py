"""``ETag``, ``If-Match`` and ``If-None-Match`` for rows with a version (RFC 9110, section 13).

A client that changes what it has read before sends the version back, and fails if somebody
else was faster.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, HTTPException
from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from app.api import problems

#: Entries of ``responses`` of routes.
READ: dict[int | str, dict[str, Any]] = {304: {"description": "The client has this version"}}
CHANGED: dict[int | str, dict[str, Any]] = {
    412: {**problems.RESPONSES["default"], "description": "It has changed: read it again"},
    428: {**problems.RESPONSES["default"], "description": "If-Match is missing"},
}

_tags = re.compile(r'(?:W/)?"([^"]*)"').findall


@dataclass(frozen=True, slots=True)
class Tags:
    """The versions that a header lists; ``any`` for ``*``."""

    versions: frozenset[int] = frozenset()
    any: bool = False

    def matches(self, version: int) -> bool:
        return self.any or version in self.versions

    def condition(self, column: InstrumentedAttribute[int]) -> tuple[ColumnElement[bool], ...]:
        """What a statement must ask of the row; nothing for ``*``."""
        return () if self.any else (column.in_(sorted(self.versions)),)


def etag(version: int) -> dict[str, str]:
    """The header of a response with this version."""
    return {"ETag": f'"{version}"'}


def changed() -> HTTPException:
    """The client's version is not the current one."""
    return HTTPException(412, "it has changed since you read it: read it again")


def _parse(header: str) -> Tags:
    if header.strip() == "*":
        return Tags(any=True)
    # A version of 10 digits is beyond what the column holds.
    return Tags(frozenset(int(tag) for tag in _tags(header) if re.fullmatch("[0-9]{1,9}", tag)))


async def _if_match(if_match: Annotated[str | None, Header(max_length=1000)] = None) -> Tags:
    if if_match is None:
        raise HTTPException(428, "send If-Match with the ETag of what you have read, or with *")
    return _parse(if_match)


IfMatch = Annotated[Tags, Depends(_if_match)]
"""The versions that the client wants to change; without the header it is answered 428."""

IfNoneMatch = Annotated[str | None, Header(max_length=1000)]
"""The versions that the client has, for ``unchanged``."""


def unchanged(if_none_match: str | None, version: int) -> bool:
    """Whether the client has this version, and needs only a 304."""
    return if_none_match is not None and _parse(if_none_match).matches(version)
