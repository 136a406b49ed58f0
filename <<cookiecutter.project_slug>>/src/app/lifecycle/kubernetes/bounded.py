"""Connections with a deadline for the whole exchange.

A socket's timeout applies to each read, so a peer that drips bytes could keep a request
alive forever. Here each read gets the time left. Names are looked up in a thread, because
``getaddrinfo`` has no timeout; a lookup that hangs is abandoned.
"""

import io
import socket
import ssl
import threading
import time
from typing import Any, NamedTuple


class Deadline:
    """A point on the monotonic clock, ``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left. Raises TimeoutError if there are none."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Address(NamedTuple):
    """An address from ``getaddrinfo``."""

    family: int
    address: Any


def resolve(host: str, port: int, deadline: Deadline) -> list[Address]:
    """The addresses of ``host``. Raises OSError, including TimeoutError."""
    found: list[Address] = []
    failed: list[OSError] = []
    done = threading.Event()

    def look_up() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                found.append(Address(family, address))
        except OSError as error:
            failed.append(error)
        except UnicodeError as error:  # not a valid name
            failed.append(OSError(str(error)))
        finally:
            done.set()

    try:
        threading.Thread(target=look_up, name="name lookup", daemon=True).start()
    except RuntimeError as error:  # the container has reached its limit of threads
        raise OSError(str(error)) from None
    if not done.wait(deadline.left()):
        raise TimeoutError("the DNS does not respond")
    if failed:
        raise failed[0]
    return found


class BoundedSocket:
    """A socket for ``http.client`` on which every byte must arrive before ``deadline``."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self.deadline = deadline

    @classmethod
    def connect(
        cls, host: str, port: int, deadline: Deadline, tls: ssl.SSLContext | None = None
    ) -> "BoundedSocket":
        """Connect to the first address of ``host`` that answers. Raises OSError."""
        error = OSError(f"{host} has no address")
        for family, address in resolve(host, port, deadline):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(deadline.left())
                sock.connect(address)
                if tls is not None:
                    sock.settimeout(deadline.left())  # for the whole handshake
                    sock = tls.wrap_socket(sock, server_hostname=host)
                return cls(sock, deadline)
            except TimeoutError:
                sock.close()
                raise
            except OSError as failed:
                sock.close()
                error = failed
        raise error

    def sendall(self, data: bytes) -> None:
        self._sock.settimeout(self.deadline.left())
        self._sock.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        """A reader; the connection stays open until it is closed too."""
        return io.BufferedReader(_Reader(self, self._sock))

    def close(self) -> None:
        self._sock.close()


class _Reader(io.RawIOBase):
    def __init__(self, bounded: BoundedSocket, sock: socket.socket) -> None:
        self._bounded = bounded
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._bounded.deadline.left())
        return self._file.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            super().close()
