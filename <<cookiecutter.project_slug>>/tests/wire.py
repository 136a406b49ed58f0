"""Raw HTTP/1.1 on a socket: what is on the wire, and how a connection ends."""

import socket
from dataclasses import dataclass
from types import TracebackType

#: Seconds after which a connection that says nothing fails the test.
SILENCE = 55.0


@dataclass(frozen=True)
class Response:
    """What came back; names of ``headers`` in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def closes(self) -> bool:
        return self.headers.get("connection", "").lower() == "close"


class Connection:
    """A connection on which each byte is the test's own."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=SILENCE)
        self._reader = self._socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> None:
        """Send a request; underscores in header names become dashes."""
        given = {"host": "test", **{name.replace("_", "-"): v for name, v in headers.items()}}
        if body:
            given |= {"content-length": str(len(body)), "content-type": "application/json"}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {v}" for name, v in given.items())]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def head(self) -> Response:
        """Status line and headers of the next response."""
        status = self._line().split(" ", 2)
        headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Response(int(status[1]), headers)

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty for the final one."""
        size = int(self._line(), 16)
        data = self._reader.read(size)
        assert self._line() == "", "a chunk ends with an empty line"
        return data

    def response(self) -> Response:
        """The next response with its whole body."""
        head = self.head()
        if head.headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        else:
            body = self._reader.read(int(head.headers.get("content-length", "0")))
        return Response(head.status, head.headers, body)

    def get(self, path: str, **headers: str) -> Response:
        self.ask(path, "GET", b"", **headers)
        return self.response()

    def post(self, path: str, body: bytes, **headers: str) -> Response:
        self.ask(path, "POST", body, **headers)
        return self.response()

    def ends(self) -> bool:
        """Whether the other side closes cleanly from here: no more bytes, no reset."""
        return self._reader.read() == b""

    def _line(self) -> str:
        line = self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError(f"the connection ended in the middle of a line: {line!r}")
        return line.decode("latin-1").rstrip("\r\n")
