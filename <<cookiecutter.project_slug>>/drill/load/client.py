"""A minimal HTTP/1.1 client that reports how a request failed.

A client library would retry, pool connections and hide the reason of errors. A
connection here is one socket that the caller opens, keeps and closes.
"""

import asyncio
import errno
import json
import socket
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from drill.load.ledger import Lost, Reason

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0

NONE: Mapping[str, str] = {}
CLOSE: Mapping[str, str] = {"Connection": "close"}


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of a response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def closes(self) -> bool:
        return "close" in self.headers.get("connection", "").lower() or self.length is None

    @property
    def chunked(self) -> bool:
        return "chunked" in self.headers.get("transfer-encoding", "").lower()

    @property
    def length(self) -> int | None:
        """Bytes of the body; -1 when chunked, None when the close ends it."""
        if self.chunked:
            return -1
        if self.status in (204, 304):
            return 0
        length = self.headers.get("content-length")
        return None if length is None else int(length)


@dataclass(frozen=True, slots=True)
class Body:
    """A request body that is sent in parts, ``size`` bytes in total."""

    size: int
    parts: AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    head: Head
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """A connection that carries one request at a time; failures raise ``Lost``.

    Errors of this machine (no free port, too many open files) stay ``OSError``:
    they say nothing about the service.
    """

    def __init__(self, sock: socket.socket, host: str, patience: float) -> None:
        self._sock = sock
        self._host = host
        self._patience = patience
        self._buffer = bytearray()
        self._requests = 0
        self._answering = False

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        *,
        within: float = CONNECT_SECONDS,
        patience: float = ANSWER_SECONDS,
        tune: Callable[[socket.socket], None] = lambda sock: None,
    ) -> "Connection":
        """Connect; ``patience`` is the timeout for each part of a response, in seconds.

        ``tune`` may set options of the socket before.
        """
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tune(sock)
            with _failures("in connecting"):
                async with asyncio.timeout(within):
                    await asyncio.get_running_loop().sock_connect(sock, (host, port))
        except BaseException:
            sock.close()
            raise
        return cls(sock, f"{host}:{port}", patience)

    def close(self) -> None:
        self._sock.close()

    def stale(self) -> bool:
        """Return whether the peer has closed, or written, since the last response."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def sip(self) -> bool:
        """Read a byte if there is one; return False once the peer has closed or reset."""
        if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False  # even if something is left to read
        try:
            return bool(self._sock.recv(1))
        except BlockingIOError:
            return True
        except OSError:
            return False

    async def request(
        self,
        method: str,
        target: str,
        body: bytes | Body = b"",
        headers: Mapping[str, str] = NONE,
    ) -> Answer:
        """Send a request and read the whole response."""
        head = await self.start(method, target, body, headers)
        return Answer(head, b"".join([part async for part in self.parts(head)]))

    async def start(
        self,
        method: str,
        target: str,
        body: bytes | Body = b"",
        headers: Mapping[str, str] = NONE,
    ) -> Head:
        """Send a request and read the head of the response."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self._host}"]
        if method != "GET":
            size = len(body) if isinstance(body, bytes) else body.size
            lines += ["Content-Type: application/json", f"Content-Length: {size}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")

        self._requests += 1
        self._answering = False
        if isinstance(body, bytes):
            await self.write(request + body)
        else:
            await self.write(request)
            async for part in body.parts:
                if self.stale():  # the response is here already: the server reads no more
                    break
                await self.write(part)
        return await self._head()

    async def parts(self, head: Head) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, up to its end according to HTTP."""
        if head.chunked:
            while size := _chunk_size(await self._until(b"\r\n")):
                yield await self._exactly(size)
                await self._exactly(2)
            while await self._until(b"\r\n"):
                pass  # trailers
        elif head.length is not None:
            yield await self._exactly(head.length)
        else:
            yield bytes(self._buffer)
            self._buffer.clear()
            while await self._receive():
                yield bytes(self._buffer)
                self._buffer.clear()

    async def write(self, data: bytes) -> None:
        with _failures(self._where):
            async with asyncio.timeout(self._patience):
                await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def _head(self) -> Head:
        while True:
            text = (await self._until(b"\r\n\r\n")).decode("latin-1")
            head = _parse_head(text)
            if head.status >= 200:
                return head

    async def _until(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            await self._more()
        data = bytes(self._buffer[:at])
        del self._buffer[: at + len(end)]
        return data

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _more(self) -> None:
        if not await self._receive():
            raise Lost(Reason.TRUNCATED if self._answering else Reason.CLOSED, self._where)

    async def _receive(self) -> bool:
        """Read into the buffer; return False at the end of the stream."""
        with _failures(self._where, Reason.TRUNCATED if self._answering else Reason.RESET):
            async with asyncio.timeout(self._patience):
                data = await asyncio.get_running_loop().sock_recv(self._sock, 65536)
        self._buffer += data
        self._answering = True if data else self._answering
        return bool(data)

    @property
    def _where(self) -> str:
        return "on a kept connection" if self._requests > 1 else ""


async def ask(host: str, port: int, target: str) -> Answer | None:
    """GET ``target`` on a new connection; None if there was no answer."""
    try:
        connection = await Connection.open(host, port)
        try:
            return await connection.request("GET", target, headers=CLOSE)
        finally:
            connection.close()
    except Lost:
        return None


def _parse_head(text: str) -> Head:
    lines = text.split("\r\n")
    try:
        protocol, status, *_ = lines[0].split(" ")
        pairs = (line.split(":", 1) for line in lines[1:])
        head = Head(int(status), {name.strip().lower(): value.strip() for name, value in pairs})
        if not protocol.startswith("HTTP/1.") or (head.length or 0) < -1:
            raise ValueError(protocol)
    except ValueError as error:
        raise Lost(Reason.MALFORMED, repr(lines[0][:40])) from error
    return head


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError as error:
        raise Lost(Reason.MALFORMED, repr(line[:40])) from error


@contextmanager
def _failures(where: str, reset: Reason = Reason.RESET) -> Iterator[None]:
    """Translate socket errors that the peer caused into ``Lost``."""
    try:
        yield
    except TimeoutError as error:
        raise Lost(Reason.TIMEOUT, where) from error
    except ConnectionRefusedError as error:
        raise Lost(Reason.REFUSED) from error
    except ConnectionError as error:
        raise Lost(reset, where) from error
    except OSError as error:
        if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            raise Lost(Reason.REFUSED, "by the network") from error
        raise
