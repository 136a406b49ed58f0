"""A response that no buffer takes at once."""

import sys

from fastapi import FastAPI
from starlette.responses import Response

from tests.apps.runner import run

app = FastAPI()


@app.get("/large")
async def large() -> Response:
    return Response(bytes(20 * 1024 * 1024))


if __name__ == "__main__":
    sys.exit(run(app))
