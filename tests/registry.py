"""A registry of images and charts, as far as `helm push` talks to one: uploads of blobs, and manifests by tag."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Registry(ThreadingHTTPServer):
    """What was pushed, by its path; blobs and manifests that have a tag alike."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pushed: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        found = self.server.pushed.get(self.path)
        if found is None:
            self.answer(404)
        else:
            self.answer(200, found, **{"Content-Type": "application/vnd.oci.image.manifest.v1+json"})

    def do_POST(self) -> None:
        self.body()
        self.answer(202, Location=self.path + "of-this-one")

    def do_PUT(self) -> None:
        body = self.body()
        digest = "sha256:" + hashlib.sha256(body).hexdigest()
        upload, _, query = self.path.partition("?")
        asked = query.removeprefix("digest=").replace("%3A", ":")
        place = upload.replace("uploads/of-this-one", asked) if query else upload
        if query and asked != digest:
            self.answer(400)
            return
        self.server.pushed[place] = body
        if "/manifests/" in place:
            self.server.pushed[f"{place.rpartition('/')[0]}/{digest}"] = body
        self.answer(201, b"", **{"Docker-Content-Digest": digest, "Location": place})

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextmanager
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
