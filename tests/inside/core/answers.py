"""How an API server answers, whole, in chunks and by the byte, or not at all."""

import contextlib
import itertools
import json
import socket
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any


class Answers(BaseHTTPRequestHandler):
    """One connection; a subclass says what is answered to what."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass

    def hang(self) -> None:
        """Say nothing until the client goes away."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.settimeout(60)
            self.connection.recv(1)

    def drip(self, first: bytes, rest: bytes = b"") -> None:
        """Send ``first`` at once, or by the byte without ``rest``, then that again and again."""
        self.close_connection = True
        drops = itertools.repeat(rest, 300) if rest else (bytes([byte]) for byte in first)
        with contextlib.suppress(OSError):
            self.wfile.write(first if rest else b"")
            for drop in drops:
                self.wfile.write(drop)
                time.sleep(0.1)

    def drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    # -- what it says -------------------------------------------------------------------

    def open_stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def refuse(self, status: int) -> None:
        self.answer(status, {"kind": "Status", "code": status, "message": "no"})

    def answer(self, status: int, body: Any) -> None:
        self.answer_bytes(status, json.dumps(body).encode())

    def answer_bytes(self, status: int, body: bytes) -> None:
        self.send_response(status, HTTPStatus(status).phrase)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
