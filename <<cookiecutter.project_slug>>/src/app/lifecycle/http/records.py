"""Streams of records: which responses are such, and where a record ends in them.

Nothing here knows of connections or of the stop: bytes go in, and whether a whole
record is the last thing in them comes out.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

Chunk = bytes | memoryview

#: A JSON text a line. The names in use: FastAPI and jsonlines.org have the first, most
#: others the second, Spring the last; none but JSON text sequences is registered.
LINES = frozenset(
    f"application/{prefix}{name}".encode()
    for prefix in ("", "x-")
    for name in ("jsonl", "ndjson", "jsonlines", "json-lines", "ldjson", "stream+json")
)
#: Structured syntax suffixes: RFC 8091 for ``+json-seq``, custom for the others.
LINES_SUFFIXES = (b"+jsonl", b"+ndjson", b"+x-ndjson")
SEQUENCE_SUFFIX = b"+json-seq"

_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Records:
    """JSON Lines: each record is a line.

    ``whole`` says whether what was sent so far ends with a whole record, or is empty.
    ``closing`` is what the format wants to be sent after the last record.
    """

    whole = True
    closing = b""

    def sent(self, chunk: Chunk) -> None:
        """Take note of what has been sent."""
        if chunk:
            self.whole = chunk[-1:] == b"\n"

    def complete(self, chunk: bytes) -> int | None:
        """How much of ``chunk`` to send to end with a whole record; None if none ends in it."""
        return chunk.rfind(b"\n") + 1 or None


class Sequence(Records):
    """JSON text sequences (RFC 7464): a record separator, a JSON text, a line feed.

    The text may contain line feeds of its own. That one has ended is certain when
    the next separator comes; a chunk that ends with a line feed is taken at its word.
    """

    def complete(self, chunk: bytes) -> int | None:
        if chunk.endswith(b"\n"):
            return len(chunk)
        start = chunk.rfind(b"\x1e")
        return start if start >= 0 else None


class Parts(Records):
    """``multipart/x-mixed-replace``: each part has a boundary before and after it.

    That a part has ended is certain when the next boundary comes; a chunk that ends
    with a line break behind the part's header is taken at its word.
    """

    def __init__(self, boundary: bytes) -> None:
        self._boundary = b"--" + boundary
        self.closing = self._boundary + b"--\r\n"
        self._in_header = True
        # As much of the end as a boundary or a blank line may have begun in.
        self._tail = b""

    def sent(self, chunk: Chunk) -> None:
        if not chunk:
            return
        data = self._tail + chunk
        _, boundary, part = data.rpartition(self._boundary)
        body: bytes = bytes(chunk)
        if self._in_header or boundary:
            header = _BLANK_LINE.search(part)
            self._in_header = header is None
            body = part[header.end() :] if header else b""
        self.whole = bool(body) and data.endswith(b"\n")
        self._tail = data[-len(self._boundary) - 4 :]

    def complete(self, chunk: bytes) -> int | None:
        start = chunk.rfind(self._boundary)
        if start >= 0:
            return start
        ahead = Parts(self._boundary[2:])
        ahead._in_header, ahead._tail = self._in_header, self._tail
        ahead.sent(chunk)
        return len(chunk) if ahead.whole else None


@dataclass(frozen=True, slots=True)
class Stream:
    """A type of response that is a stream, and what makes the Records of one.

    There are none of an event stream: its clients discard half an event themselves.
    """

    records: Callable[[], Records | None]


_EVENTS = Stream(lambda: None)
_LINES = Stream(Records)
_SEQUENCE = Stream(Sequence)


@lru_cache(maxsize=64)
def _stream_of(content_type: bytes) -> Stream | None:
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type == b"text/event-stream":
        return _EVENTS
    if media_type in LINES or media_type.endswith(LINES_SUFFIXES):
        return _LINES
    if media_type == b"application/json-seq" or media_type.endswith(SEQUENCE_SUFFIX):
        return _SEQUENCE
    boundary = _BOUNDARY.search(content_type)
    if media_type == b"multipart/x-mixed-replace" and boundary:
        return Stream(partial(Parts, boundary[1] or boundary[2]))
    return None


def stream_in(headers: Iterable[tuple[bytes, bytes]]) -> Stream | None:
    """What stream a response with these headers is; None for all other responses.

    One that says its length ends by itself and is none; nor is one whose records are
    compressed: where they end cannot be seen.
    """
    for name, value in headers:
        if name == b"content-type":
            stream = _stream_of(value)
            if stream is None or _says(headers, b"content-length"):
                return None
            if stream is not _EVENTS and _says(headers, b"content-encoding"):
                return None
            return stream
    return None


def _says(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bool:
    return any(name == wanted and value != b"identity" for name, value in headers)
