"""A client for EndpointSlices: list, and watch from there.

It uses the standard library because client libraries are heavy and this runs for seconds.
https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import http.client
import json
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from app.lifecycle.kubernetes.bounded import BoundedSocket, Deadline
from app.lifecycle.kubernetes.endpoint import SERVICE_LABEL
from app.lifecycle.kubernetes.identity import Cluster

Json = Mapping[str, Any]

#: Seconds for a whole response, other than a stream.
PATIENCE = 2.0
#: Seconds after which the server shall end a stream. A stream that does not end half of
#: ``PATIENCE`` later hangs; otherwise there was just no change.
STREAM = 3
#: Most slices per page, and most bytes of a response or of a line of a stream. A slice of a
#: hundred endpoints has about 60 kB.
PAGE = 5
LARGEST = 8_000_000

GONE = 410


class ApiError(Exception):
    """The API failed; the message says what is missing."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class KubeApi:
    """The EndpointSlices of ``services`` in the namespace.

    For one thread. Methods raise ApiError, OSError, http.client.HTTPException, and
    ValueError or similar for malformed responses; ``explain`` describes them.
    """

    def __init__(self, cluster: Cluster, namespace: str, services: Iterable[str]) -> None:
        self._credentials = Path(cluster.credentials)
        self._namespace = namespace or self._read("namespace")
        self._services = list(services)
        self._secure, self._host, self._port = _address(cluster.api)
        self._connection: http.client.HTTPConnection | None = None
        self._socket: BoundedSocket | None = None
        self._deadline = Deadline(0)
        #: The last version seen, from which a watch continues; opaque.
        self.version = ""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def slices(self) -> Iterator[Json]:
        """All slices, page by page; sets ``version`` at the end."""
        self._deadline = Deadline(PATIENCE)
        token = ""
        while True:
            more = {"continue": token} if token else {}
            answer = json.loads(self._body(self._get(limit=str(PAGE), **more)))
            if not isinstance(answer, dict) or answer.get("kind") != "EndpointSliceList":
                raise ApiError("the response is not an EndpointSliceList")
            yield from answer.get("items") or ()
            token = answer["metadata"].get("continue") or ""
            if not token:
                self.version = answer["metadata"]["resourceVersion"]
                return

    def changes(self) -> Iterator[tuple[str, Json]]:
        """Yield changes since ``version`` until the server ends the stream.

        Raises ApiError with status 410 if the server no longer has that version.
        """
        self._deadline = Deadline(PATIENCE)
        response = self._get(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=self.version,
            timeoutSeconds=str(STREAM),
        )
        for line in self._lines(response):
            event = json.loads(line)
            kind, changed = event["type"], event["object"]
            if kind == "ERROR":
                raise _refusal(int(changed.get("code") or 0), str(changed.get("message", "")))
            self.version = changed["metadata"]["resourceVersion"]
            yield kind, changed

    def _get(self, **query: str) -> http.client.HTTPResponse:
        """Send a request; return its response with status 200."""
        selector = f"{SERVICE_LABEL} in ({','.join(self._services)})"
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self._namespace}/endpointslices?" + (
            urlencode({"labelSelector": selector, **query})
        )
        headers = {"Accept": "application/json"}
        if self._secure:
            # Read each time, because the kubelet rotates it.
            headers["Authorization"] = f"Bearer {self._read('token')}"
        connection = self._connected()
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        if response.status != http.client.OK:
            self.close()
            raise _refusal(response.status, response.reason)
        return response

    def _connected(self) -> http.client.HTTPConnection:
        """A connection whose requests end by ``_deadline``."""
        if self._connection is None:
            # The socket does TLS.
            self._connection = http.client.HTTPConnection(self._host, self._port)
        if self._connection.sock is None or self._socket is None:
            trust = self._trust() if self._secure else None
            self._socket = BoundedSocket.connect(self._host, self._port, self._deadline, trust)
            self._connection.sock = self._socket
        self._socket.deadline = self._deadline
        return self._connection

    def _trust(self) -> ssl.SSLContext:
        # create_default_context refuses the CAs of many clusters since Python 3.13.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self._read("ca.crt"))
        return context

    def _read(self, name: str) -> str:
        try:
            return (self._credentials / name).read_text("utf-8").strip()
        except OSError as error:
            path = self._credentials / name
            raise ApiError(f"{path} cannot be read ({error.strerror}): is it mounted?") from None

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := response.read1(65536):
            parts.append(part)
            size += len(part)
            if size > LARGEST:
                raise ApiError(f"the response is larger than {LARGEST:,} bytes")
        response.close()  # Python before 3.13 needs this before the next request
        return b"".join(parts)

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """Complete lines of a stream."""
        if self._socket is not None:
            self._socket.deadline = Deadline(STREAM + PATIENCE / 2)
        rest = b""
        while part := response.read1(65536):
            *lines, rest = (rest + part).split(b"\n")
            yield from filter(bytes.strip, lines)
            if len(rest) > LARGEST:
                raise ApiError(f"a line of the stream is longer than {LARGEST:,} bytes")
        response.close()


def explain(error: Exception) -> str:
    """A description of the error for the log."""
    if isinstance(error, ApiError):
        return str(error)
    if isinstance(error, TimeoutError):
        return "the API does not respond"
    if isinstance(error, ssl.SSLError):
        return f"the API's certificate: {error.reason or error}"
    if isinstance(error, http.client.HTTPException):
        return f"the API broke off its response: {type(error).__name__}"
    if isinstance(error, OSError):
        return f"the API cannot be reached: {error.strerror or error}"
    return f"the API's response is malformed: {type(error).__name__}"


def _refusal(status: int, reason: str) -> ApiError:
    known = {
        401: "the API does not accept the token (401)",
        403: "no permission to list and watch endpointslices (403): is there a Role?",
        404: "the API has no endpointslices (404)",
        GONE: "the API no longer has the listed version (410)",
    }
    return ApiError(known.get(status, f"the API responds with {status} {reason}".rstrip()), status)


def _address(api: str) -> tuple[bool, str, int]:
    """Whether to use TLS, host and port. Raises ApiError if they are unknown."""
    if not api:
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        port = os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
        if not host:
            raise ApiError("KUBERNETES_SERVICE_HOST is not set: not in a pod")
        host = host.strip("[]")
        api = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    parts = urlsplit(api)
    secure = parts.scheme == "https"
    return secure, parts.hostname or "", parts.port or (443 if secure else 80)
