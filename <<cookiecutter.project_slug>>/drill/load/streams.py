"""The clients of streams: server-sent events and WebSockets.

A stream may end at any time, but properly: SSE by the final chunk of its body,
a WebSocket by a close frame. The client then reconnects at once. A stream that
is cut off counts as lost.
"""

import asyncio

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from drill.load.client import Connection
from drill.load.ledger import Kind, Lost, Reason
from drill.load.routes import Call
from drill.load.traffic import Traffic
from drill.record import Endpoint

PROPER_CLOSES = (1000, 1012)
#: Timeout of a silent stream: longer than the example's interval of one second plus a loop
#: that is blocked for four seconds.
SILENCE_SECONDS = 8.0
ECHO_SECONDS = 0.5
#: Pause between a loss and the next attempt, so that one dead pod is not a thousand losses.
PAUSE_SECONDS = 0.5


class StreamClient:
    """Keeps one stream open, on one pod after another."""

    kind: Kind

    def __init__(self, traffic: Traffic, call: Call) -> None:
        self._traffic = traffic
        self._call = call

    async def run(self) -> None:
        ledger, clock = self._traffic.ledger, self._traffic.clock
        while True:
            began, pod = clock(), ""
            try:
                endpoint = self._traffic.pick()
                pod = endpoint.pod
                await self._follow(endpoint)
            except Lost as lost:
                ledger.lost(self.kind, pod, began, lost)
                await asyncio.sleep(PAUSE_SECONDS)
            except asyncio.CancelledError:
                ledger.streams_left_open[self.kind] += 1
                raise
            else:
                ledger.served(self.kind, pod, began)

    async def _follow(self, endpoint: Endpoint) -> None:
        """Return at the stream's proper end; raise ``Lost`` at any other."""
        raise NotImplementedError


class EventsClient(StreamClient):
    kind = Kind.SSE

    async def _follow(self, endpoint: Endpoint) -> None:
        connection = await Connection.open(endpoint.host, endpoint.port, patience=SILENCE_SECONDS)
        try:
            head = await connection.start(
                "GET",
                self._call.path,
                headers={"Accept": "text/event-stream", **self._call.headers},
            )
            self._traffic.expect_success(self._call, head.status)
            async for part in connection.parts(head):
                self._traffic.ledger.messages[self.kind] += part.count(b"data:")
            if not head.chunked:
                raise Lost(Reason.STREAM, "(its body has no length and is not chunked)")
        finally:
            connection.close()


class EchoClient(StreamClient):
    kind = Kind.WEBSOCKET

    async def _follow(self, endpoint: Endpoint) -> None:
        url = f"ws://{endpoint.host}:{endpoint.port}{self._call.path}"
        try:
            async with connect(
                url,
                proxy=None,
                additional_headers=self._call.headers,
                ping_interval=None,
                open_timeout=SILENCE_SECONDS,
                close_timeout=1,
            ) as socket:
                await self._converse(socket)
        except ConnectionClosed as error:
            code = error.rcvd.code if error.rcvd else 1006
            if code not in PROPER_CLOSES:
                raise Lost(Reason.STREAM, f"(close code {code})") from error
        except InvalidStatus as error:
            self._traffic.expect_success(self._call, error.response.status_code)
            raise Lost(Reason.STATUS, str(error.response.status_code)) from error
        except InvalidMessage as error:
            reset = isinstance(error.__cause__, ConnectionError)
            raise Lost(Reason.RESET if reset else Reason.CLOSED, "in the handshake") from error
        except InvalidHandshake as error:
            raise Lost(Reason.MALFORMED, "in the handshake") from error
        except TimeoutError as error:
            raise Lost(Reason.TIMEOUT) from error
        except ConnectionRefusedError as error:
            raise Lost(Reason.REFUSED) from error
        except (ConnectionError, EOFError) as error:
            raise Lost(Reason.RESET, "in the handshake") from error

    async def _converse(self, socket: ClientConnection) -> None:
        """Send a message every half second; ends with ``ConnectionClosed``."""
        sent = 0
        while True:
            sent += 1
            await socket.send(f"drill {sent}")
            async with asyncio.timeout(SILENCE_SECONDS):
                echo = await socket.recv()
            if echo != f"drill {sent}":
                raise Lost(Reason.MALFORMED, f"(wrong echo {echo!r})")
            self._traffic.ledger.messages[self.kind] += 1
            try:
                async with asyncio.timeout(ECHO_SECONDS):
                    await socket.wait_closed()
            except TimeoutError:
                continue


def stream_clients(traffic: Traffic, each: int) -> list[StreamClient]:
    """Return ``each`` clients of every kind of stream that has a route."""
    kinds = ((EventsClient, traffic.routes.events), (EchoClient, traffic.routes.echo))
    return [client(traffic, call) for client, call in kinds if call for _ in range(each)]
