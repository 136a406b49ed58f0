"""What handlers can ask for."""

from typing import Annotated

from fastapi import Depends

from app.lifecycle import streams


async def _draining() -> streams.Draining:
    return streams.current_draining()


Draining = Annotated[streams.Draining, Depends(_draining)]
"""Whether the service drains: for handlers of streams that want to say goodbye."""
