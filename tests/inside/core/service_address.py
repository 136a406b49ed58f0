"""The address of a Service, as kube-proxy makes it: each connection goes to one of its pods."""

import contextlib
import itertools
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.harness import HOST

#: A backend that swallows what is sent to it, as where a pod cannot reach itself (no hairpin).
NOBODY = 0


class ServiceAddress:
    """Forwards connections to the ports in ``pods`` in turn; change it at any time."""

    def __init__(self, *pods: int) -> None:
        self.pods = pods
        self.connections = 0
        self.port = 0
        self._turn = itertools.count()
        self._lock = threading.Lock()

    def next(self) -> int:
        with self._lock:
            self.connections += 1
            pods = self.pods
            return pods[next(self._turn) % len(pods)]


class Forwarder(socketserver.BaseRequestHandler):
    address: ServiceAddress

    def handle(self) -> None:
        port = self.address.next()
        if port == NOBODY:
            with contextlib.suppress(OSError):
                self.request.settimeout(20)
                while self.request.recv(4096):
                    pass
            return
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 20) as pod:
            pod.sendall(self.request.recv(4096))
            while data := pod.recv(4096):
                self.request.sendall(data)


class Pod(socketserver.BaseRequestHandler):
    """Another pod: says its name and nothing else."""

    head = b""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.request.recv(4096)
            self.request.sendall(b"HTTP/1.1 200 OK\r\n" + self.head + b"\r\n")


class Drip(socketserver.BaseRequestHandler):
    """Answers a byte at a time."""

    drops = b""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for drop in self.drops:
                self.request.sendall(bytes([drop]))
                time.sleep(0.1)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 100

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def listening(handler: type[socketserver.BaseRequestHandler], **state: object) -> Iterator[int]:
    with Server((HOST, 0), type("Own", (handler,), state)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def service_address(*pods: int) -> Iterator[ServiceAddress]:
    address = ServiceAddress(*pods)
    with listening(Forwarder, address=address) as address.port:
        yield address


@contextlib.contextmanager
def another_pod(name: str) -> Iterator[int]:
    """A pod that says this name in its header, or no header where that is empty."""
    head = f"X-Pod-Name: {name}\r\n".encode() if name else b""
    with listening(Pod, head=head) as port:
        yield port
