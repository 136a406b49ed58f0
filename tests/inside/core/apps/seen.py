"""Says what it sees of its client, and sends it on to absolute addresses of its own."""

import sys

from fastapi import FastAPI, Request, WebSocket

from tests.apps.runner import run

app = FastAPI()


@app.get("/seen")
async def seen(request: Request) -> dict[str, object]:
    return {
        "client": request.client and [request.client.host, request.client.port],
        "url": str(request.url),
        "items": str(request.url_for("items")),
    }


@app.get("/items/")
async def items() -> list[str]:
    """FastAPI redirects ``/items`` here."""
    return []


@app.websocket("/socket")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    client = websocket.client and websocket.client.host
    await websocket.send_text(f"{websocket.url} {client}")
    await websocket.close()


if __name__ == "__main__":
    sys.exit(run(app))
