"""TLS on the main port: a layer between a connection's socket and its protocol.

It is not that of the event loop, with which a stop could keep less of what it promises:
that one hides a connection until its handshake is done, so nothing limits or ends those that
never are; it keeps a part of a response in a buffer of its own, which nobody can see; and a
close waits for the client's. Here a connection counts from the start, and a handshake is what
comes before its first byte; what is not sent yet is in the socket's buffer; a close waits for
nobody.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

import structlog

from app.lifecycle.http.certificate import Certificate
from app.lifecycle.http.problem import encode, problem
from app.observability.metrics import Metric, by, counter, gauge

log = structlog.get_logger(__name__)

#: Why a handshake failed: there was none, or OpenSSL said no.
Failure = Literal["plain_http", "handshake"]
#: The first byte of a handshake (RFC 8446, section 5.1).
HANDSHAKE = 0x16
#: What a stopping pod asks at the Service's address; it only reads which pod answers.
QUESTION = b"GET /readyz "
#: Bytes that are decrypted at once: more than a record.
SIZE = 64 * 1024


class TlsPort:
    """What the connections of the port share; ``headers`` are part of the answer to plain HTTP."""

    def __init__(self, certificate: Certificate, *headers: tuple[bytes, bytes]) -> None:
        self.certificate = certificate
        #: How many handshakes failed.
        self.failed: dict[Failure, int] = dict.fromkeys(get_args(Failure), 0)
        fields, body = encode(problem(400, "this port speaks TLS: use https"))
        fields = [*fields, *headers, (b"connection", b"close")]
        lines = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.plain_answer = b"HTTP/1.1 400 Bad Request\r\n%b\r\n%b" % (lines, body)

    def behind(self, protocol: Callable[..., asyncio.Protocol]) -> Callable[..., "Tls"]:
        """A factory of protocols that ``protocol`` makes, behind TLS."""
        return lambda *args, **kwargs: Tls(self, protocol(*args, **kwargs))

    def fail(self, failure: Failure) -> None:
        if failure == "plain_http" and not self.failed[failure]:
            log.warning("plain HTTP on the port of TLS: its clients must use https")
        self.failed[failure] += 1

    def families(self) -> Iterable[Metric]:
        """Metrics of the certificate and of handshakes."""
        pair = self.certificate.pair
        yield gauge(
            "app_tls_certificate_not_before_timestamp_seconds",
            "Unix time from which the certificate in use is valid.",
            pair.not_before,
        )
        yield gauge(
            "app_tls_certificate_not_after_timestamp_seconds",
            "Unix time at which the certificate in use expires.",
            pair.not_after,
        )
        yield counter(
            "app_tls_reload_failures_total",
            "Failed attempts to load a changed certificate; the old one stays in use.",
            self.certificate.failures,
        )
        yield Metric(
            "app_tls_handshake_failures_total",
            "counter",
            "Connections that never got as far as TLS.",
            by("reason", self.failed),
        )


class Tls(asyncio.Transport, asyncio.Protocol):
    """The protocol of a socket's transport, and the transport of ``protocol``."""

    _raw: asyncio.Transport
    _tls: ssl.SSLObject

    def __init__(self, port: TlsPort, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self._port = port
        self._protocol: Any = protocol
        self._context = port.certificate.pair.context
        #: Whether a client has begun its handshake, and whether that is done.
        self._begun = self.ready = False
        self._paused = False

    # -- what the socket's transport calls ----------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = transport  # type: ignore[assignment]
        self._protocol.connection_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        protocol = self._protocol
        # No cycle keeps what OpenSSL holds until the garbage collector comes.
        self._protocol = None
        self.__dict__.pop("_tls", None)
        protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            if data[0] != HANDSHAKE:
                self._refuse(data)
                return
            # Made so late that a connection on which nothing comes costs nothing of it.
            self._begun = True
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._incoming.write(data)
        if self.ready or self._shake_hands():
            self._read()

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()  # type: ignore[no-any-return]

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def _refuse(self, data: bytes) -> None:
        """Close a connection that does not begin with a handshake; HTTP gets an answer."""
        plain = data[:1].isalpha()
        if not data.startswith(QUESTION):
            self._port.fail("plain_http" if plain else "handshake")
        if plain:
            self._raw.write(self._port.plain_answer)
        self._raw.close()

    def _shake_hands(self) -> bool:
        """Whether the handshake is done."""
        try:
            self._tls.do_handshake()
            self.ready = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            log.debug("handshake failed", reason=error.reason)
            self._port.fail("handshake")
            self._flush()  # the alert that tells the client why
            self._raw.close()
            return False
        self._flush()
        return self.ready

    def _read(self) -> None:
        """Pass on what can be decrypted, until the protocol wants no more."""
        try:
            while self._incoming.pending and not (self._paused or self._raw.is_closing()):
                if data := self._tls.read(SIZE):
                    self._protocol.data_received(data)
                elif not self._protocol.eof_received():
                    self.close()
        except ssl.SSLWantReadError:
            self._flush()  # an answer to a change of keys
        except ssl.SSLError:
            self._flush()
            self._raw.close()

    def _read_on(self) -> None:
        if self._protocol is not None:
            self._read()

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._raw.write(data)

    # -- what the protocol calls --------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._raw.is_closing() or not data:
            return
        try:
            sent = self._tls.write(data)
            while sent < len(data):
                sent += self._tls.write(memoryview(data)[sent:])
        except ssl.SSLError:
            self.abort()
            return
        self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def close(self) -> None:
        """Send what is buffered and the end of TLS, and close; the client need not answer."""
        if self._raw.is_closing():
            return
        if self.ready:
            with contextlib.suppress(ssl.SSLError):  # it would wait for the client's end
                self._tls.unwrap()
            self._flush()
        self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._paused = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        self._raw.resume_reading()
        if self.ready and self._incoming.pending:  # the socket may have no more to wake it
            asyncio.get_running_loop().call_soon(self._read_on)

    def is_reading(self) -> bool:
        return not self._paused and self._raw.is_reading()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._raw.get_write_buffer_limits()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def can_write_eof(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "sslcontext":
            return self._context
        if name == "ssl_object":
            return self.__dict__.get("_tls", default)
        return self._raw.get_extra_info(name, default)
