"""A version with a fault: a quarter of its requests fails, or takes long.

``scenarios/canary.py`` passes this text to the pod's command, so it imports nothing of the drill.
"""

import asyncio
import os
import random
import sys
from typing import Any

from fastapi import FastAPI

from app import main
from app.__main__ import main as run
from app.settings import Settings

SHARE, SLOW_SECONDS = 0.25, 3.0


class Fault:
    """Middleware, inside of what the service measures."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and random.random() < SHARE:
            if os.environ["DRILL_FAULT"] == "errors":
                raise RuntimeError("the fault of this version")
            await asyncio.sleep(SLOW_SECONDS)
        await self._app(scope, receive, send)


def with_fault(settings: Settings) -> FastAPI:
    app = create_app(settings)
    app.add_middleware(Fault)
    return app


create_app, main.create_app = main.create_app, with_fault
sys.argv[1:] = ["serve"]
sys.exit(run())
