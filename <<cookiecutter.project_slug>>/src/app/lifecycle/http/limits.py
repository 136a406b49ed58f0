"""What a client of the main port may take: times, rates and sizes."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings describe each of them; infinite or 0 (a rate) means no limit."""

    #: Seconds until the headers of a request must be complete, and until the first byte.
    header_seconds: float = 10.0
    #: Bytes of a request line with its headers.
    header_bytes: int = 64 * 1024
    #: Bytes of a request body; 0: no limit.
    body_bytes: int = 1024 * 1024
    #: Bytes per second that a client must send of its body, or take of its response.
    least_rate: float = 500.0
    #: Seconds by which a client may fall behind that rate.
    stall_seconds: float = 60.0
    #: Seconds after which a connection without a request is closed.
    keep_alive: float = 75.0
    #: The same under load, or None: no difference.
    keep_alive_least: float | None = None
    #: Bytes of a message to a WebSocket.
    message_bytes: int = 1024 * 1024
    #: Seconds between two pings, and in which a client must answer one.
    ping: float = 20.0
    pong: float = 20.0
    #: Seconds without a message after which a WebSocket is closed.
    websocket_idle: float = math.inf
    #: Open WebSockets, or None.
    websockets: int | None = None
