"""The service without its lifecycle: its routes on uvicorn as it comes.

Run by its text, so that it needs nothing but the service's own image.
"""

import uvicorn
from fastapi import Response

from app.environment import load
from app.main import create_app
from app.observability import logging

settings = load()
logging.configure(settings.log.level, settings.log.format)
app = create_app(settings)


@app.get("/startupz")
@app.get("/livez")
@app.get("/readyz")
async def well() -> Response:
    return Response("ok")


uvicorn.run(app, host=settings.host, port=settings.port)
