"""Cursors of pages: where a page ended, for clients a text that means nothing.

The next page begins after a key, not at an offset: rows that come and go meanwhile neither
repeat nor hide others, and the thousandth page is as cheap as the first.
"""

import base64
import binascii
from typing import Annotated

from fastapi import Depends, HTTPException, Query


def cursor(key: int) -> str:
    """The cursor of a page whose last row has this key."""
    return base64.urlsafe_b64encode(f"id:{key}".encode()).decode().rstrip("=")


async def _key(after: Annotated[str | None, Query(max_length=100)] = None) -> int | None:
    if after is None:
        return None
    try:
        padding = "=" * (-len(after) % 4)
        text = base64.b64decode(after + padding, b"-_", validate=True).decode("ascii")
        key = int(text.removeprefix("id:"))
        if cursor(key) != after or key >= 2**63:
            raise ValueError(after)
    except (ValueError, binascii.Error):
        raise HTTPException(422, "after: not a cursor of this service") from None
    return key


Cursor = Annotated[int | None, Depends(_key)]
"""The key after which the page begins, from the parameter ``after``; None: the first page."""
