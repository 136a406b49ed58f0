"""FastAPI on uvicorn as it comes, with the one route that is measured, in a router as the service has it.

Its server is what the service's is made of.
"""

import os

import uvicorn
from fastapi import APIRouter, FastAPI

router = APIRouter()


@router.get("/hello")
async def hello() -> dict[str, str]:
    return {"message": "hello"}


app = FastAPI()
app.include_router(router)

if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["APP_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=os.environ["APP_LOG__ACCESS"] == "true",
    )
