"""Which responses are streams of records, and where a record ends in them."""

import pytest

from app.lifecycle.http.records import Records, Sequence, stream_in

PARTS = b"multipart/x-mixed-replace; boundary="
TYPES = [
    b"application/jsonl",
    b"application/x-ndjson; charset=utf-8",
    b"Application/NDJSON",
    b"application/stream+json",
    b"application/vnd.example+jsonl",
    b"application/json-seq",
    b"application/geo+json-seq",
    PARTS + b"frame",
    PARTS + b'"a frame"; charset=utf-8',
]


def made(content_type: bytes) -> Records:
    """What counts the records of such a response."""
    stream = stream_in([(b"x-other", b"1"), (b"content-type", content_type)])
    assert stream is not None
    records = stream.records()
    assert records is not None
    return records


@pytest.mark.parametrize("content_type", TYPES)
def test_streams_of_records_are_told_by_their_type(content_type: bytes) -> None:
    assert made(content_type).whole


@pytest.mark.parametrize(
    "content_type",
    [b"application/json", b"text/html", b"text/csv", b"multipart/x-mixed-replace", b"", b"jsonl"],
)
def test_other_types_are_none(content_type: bytes) -> None:
    assert stream_in([(b"content-type", content_type)]) is None


@pytest.mark.parametrize("content_type", [*TYPES, b"text/event-stream"])
def test_what_says_its_length_is_none(content_type: bytes) -> None:
    headers = [(b"content-length", b"9"), (b"content-type", content_type)]
    assert stream_in(headers) is None


def test_compressed_records_are_none_but_compressed_events_are() -> None:
    events, lines = (b"content-type", b"text/event-stream"), (b"content-type", TYPES[0])
    compressed, plain = (b"content-encoding", b"gzip"), (b"content-encoding", b"identity")
    assert stream_in([compressed, lines]) is None
    assert stream_in([compressed, events]) is not None
    assert stream_in([plain, lines]) is not None


FRAME = b"--frame\r\nContent-Type: text/plain\r\n\r\n12\r\n"
CASES = [
    # type, chunks sent so far, whole?, next chunk, how much of it completes a record
    (TYPES[0], [b"{}\n"], True, b"", None),
    (TYPES[0], [b"{}\n", b""], True, b"", None),
    (TYPES[0], [b"{}\n{"], False, b'"a"', None),
    (TYPES[0], [b"{}\n{"], False, b"}\n{", 2),
    (TYPES[0], [b"{}"], False, b"\n{}", 1),
    (TYPES[5], [b"\x1e{}\n"], True, b"", None),
    (TYPES[5], [b"\x1e{\n "], False, b"\n\n}", None),
    (TYPES[5], [b"\x1e{"], False, b"}\n\x1e{", 2),
    (TYPES[5], [b"\x1e{"], False, b"}\n\x1e{}\n", 6),
    (TYPES[7], [FRAME], True, b"", None),
    (TYPES[7], [FRAME[:-2]], False, b"\r\n" + FRAME, 2),
    (TYPES[7], [FRAME[:-2]], False, b"\r\n", 2),
    (TYPES[7], [FRAME[:-1]], False, b"\n", 1),
    (TYPES[7], [FRAME[:10]], False, FRAME[10:-2], None),
    (TYPES[7], [FRAME[:10]], False, FRAME[10:-2] + b"\r\n--frame\r\n", len(FRAME) - 10),
    (TYPES[7], [FRAME, FRAME[:9]], False, FRAME[9:], len(FRAME) - 9),
    (TYPES[7], [FRAME, FRAME[:-4]], False, b"1", None),
    (TYPES[7], [FRAME[:-4]], False, b"\r\n12", None),
    (TYPES[8], [FRAME.replace(b"frame", b"a frame")], True, b"", None),
]


def test_an_event_stream_is_a_stream_whose_records_do_not_matter() -> None:
    stream = stream_in([(b"content-type", b"text/event-stream; charset=utf-8")])
    assert stream is not None
    assert stream.records() is None


@pytest.mark.parametrize(("kind", "chunks", "whole", "following", "size"), CASES)
def test_where_a_record_ends(
    kind: bytes, chunks: list[bytes], whole: bool, following: bytes, size: int | None
) -> None:
    records = made(kind)
    for chunk in chunks:
        records.sent(memoryview(chunk))
    assert records.whole is whole
    if not whole:
        assert records.complete(following) == size
        records.sent(following[:size])
        assert records.whole is (size is not None)


@pytest.mark.parametrize("size", range(1, len(FRAME) + 1))
def test_a_part_is_whole_at_its_end_alone_however_it_is_cut(size: int) -> None:
    records = made(TYPES[7])
    for _ in range(2):
        for start in range(0, len(FRAME), size):
            chunk = FRAME[start : start + size]
            records.sent(chunk)
            assert records.whole is (start + len(chunk) == len(FRAME))


def test_only_multipart_needs_something_at_its_end() -> None:
    assert made(TYPES[7]).closing == b"--frame--\r\n"
    assert (Records().closing, Sequence().closing) == (b"", b"")
