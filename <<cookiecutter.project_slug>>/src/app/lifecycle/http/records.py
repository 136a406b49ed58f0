"""Record streams: recognizes them by their headers, and finds where their records end."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

Chunk = bytes | memoryview

#: Types with one JSON text per line. FastAPI and jsonlines.org use the first, most others
#: the second, Spring the last. None is registered (only JSON text sequences are).
LINES = frozenset(
    f"application/{prefix}{name}".encode()
    for prefix in ("", "x-")
    for name in ("jsonl", "ndjson", "jsonlines", "json-lines", "ldjson", "stream+json")
)
#: Structured syntax suffixes: ``+json-seq`` is RFC 8091, the others are common practice.
LINES_SUFFIXES = (b"+jsonl", b"+ndjson", b"+x-ndjson")
SEQUENCE_SUFFIX = b"+json-seq"

_BOUNDARY = re.compile(rb';\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Records:
    """JSON Lines: each record is a line.

    ``whole`` is true when the bytes sent so far are empty or end with a complete record.
    ``closing`` is what the format requires after the last record.
    """

    whole = True
    closing = b""

    def sent(self, chunk: Chunk) -> None:
        """Track ``chunk``, which has been sent."""
        if chunk:
            self.whole = chunk[-1:] == b"\n"

    def complete(self, chunk: bytes) -> int | None:
        """How much of ``chunk`` completes a record; None if no record ends in it."""
        return chunk.rfind(b"\n") + 1 or None


class Sequence(Records):
    """JSON text sequences (RFC 7464): a record separator, a JSON text, a line feed.

    The text may contain line feeds too, so only the next separator proves that a record
    has ended. A chunk that ends with a line feed is assumed to end a record.
    """

    def complete(self, chunk: bytes) -> int | None:
        if chunk.endswith(b"\n"):
            return len(chunk)
        start = chunk.rfind(b"\x1e")
        return start if start >= 0 else None


class Parts(Records):
    """``multipart/x-mixed-replace``: each part has a boundary before and after it.

    Only the next boundary proves that a part has ended. A chunk that ends with a line
    break after the part's header is assumed to end a part.
    """

    def __init__(self, boundary: bytes) -> None:
        self._boundary = b"--" + boundary
        self.closing = self._boundary + b"--\r\n"
        self._in_header = True
        # The end of the data, in which a boundary or a blank line may have begun.
        self._tail = b""

    def sent(self, chunk: Chunk) -> None:
        if not chunk:
            return
        data = self._tail + chunk
        _, boundary, part = data.rpartition(self._boundary)
        body = bytes(chunk)
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
    """A type of stream; ``records`` makes the Records of one response.

    Event streams have none: their clients discard an incomplete event themselves.
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
    """The type of stream that a response with these headers is; None if it is not a stream.

    A response with a content length ends by itself. Where compressed records end cannot
    be seen. Neither counts as a stream.
    """
    for name, value in headers:
        if name == b"content-type":
            stream = _stream_of(value)
            if stream is None or _has(headers, b"content-length"):
                return None
            if stream is not _EVENTS and _has(headers, b"content-encoding"):
                return None
            return stream
    return None


def _has(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bool:
    return any(name == wanted and value != b"identity" for name, value in headers)
