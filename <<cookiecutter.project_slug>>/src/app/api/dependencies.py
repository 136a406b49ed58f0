"""Dependencies for handlers."""

from typing import Annotated

from fastapi import Depends

from app.lifecycle.http import streams


async def _draining() -> streams.Draining:
    return streams.current_draining()


Draining = Annotated[streams.Draining, Depends(_draining)]
"""The state of the drain, for handlers of streams that send a last message of their own."""


async def _finite() -> None:
    streams.wait_for_end()


Finite = Depends(_finite)
"""``dependencies=[Finite]`` lets a stop wait for a route's stream, which must end by itself."""
