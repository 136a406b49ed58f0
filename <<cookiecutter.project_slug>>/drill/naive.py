"""The service without its lifecycle: its routes on plain uvicorn.

``compare.py`` puts this text into the pod's command, so it may import nothing of the drill.
"""

import os

import structlog
import uvicorn
from fastapi import Response

from app.asgi import app

structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
)


@app.get("/startupz")
@app.get("/livez")
@app.get("/readyz")
async def healthy() -> Response:
    return Response("ok")


uvicorn.run(
    app, host=os.environ.get("APP_HOST", "::"), port=int(os.environ.get("APP_PORT", "8080"))
)
