"""A lifespan of the application's own; the variable LIFESPAN says what is wrong with it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

import structlog
from fastapi import FastAPI

from tests.apps.runner import run

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    what = os.environ["LIFESPAN"]
    log.info("lifespan", step="starts")
    if what == "fails":
        raise LookupError("no such model")
    if what == "starts for ever":
        await asyncio.sleep(3600)
    yield
    log.info("lifespan", step="ends")
    if what == "ends for ever":
        await asyncio.sleep(3600)


if __name__ == "__main__":
    sys.exit(run(FastAPI(lifespan=lifespan)))
