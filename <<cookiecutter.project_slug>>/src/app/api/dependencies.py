"""What handlers can ask for."""

from typing import Annotated

from fastapi import Depends

from app.lifecycle.http import streams


async def _draining() -> streams.Draining:
    return streams.current_draining()


Draining = Annotated[streams.Draining, Depends(_draining)]
"""Whether the service drains: for handlers of streams that want to say goodbye."""


async def _finite() -> None:
    streams.wait_for_end()


Finite = Depends(_finite)
"""For routes whose stream ends by itself: ``dependencies=[Finite]`` lets a stop wait for it."""
