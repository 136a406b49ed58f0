"""What clients send and get."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]
#: PostgreSQL's texts cannot hold the character NUL.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=200)]
Body = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=100_000)]


class NoteIn(BaseModel):
    """A note as clients send it."""

    model_config = ConfigDict(extra="forbid")

    title: Line
    text: Body = ""
    slug: Slug | None = Field(default=None, description="A name that no other note has.")


class NoteOut(BaseModel):
    """A note as clients get it; ``version`` is also in the header ``ETag``."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str
    text: str
    slug: str | None
    version: int
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    """Some of the notes, the newest first. ``next`` is the cursor of the next page, if any."""

    items: list[NoteOut]
    next: str | None
