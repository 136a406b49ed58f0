"""What handlers can ask for."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from app.lifecycle import streams


def _draining(connection: HTTPConnection) -> streams.Draining:
    return streams.draining_of(connection.scope)


Draining = Annotated[streams.Draining, Depends(_draining)]
"""Whether the service drains: for handlers of streams that want to say goodbye."""
