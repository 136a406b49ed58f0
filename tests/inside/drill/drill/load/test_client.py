"""The HTTP client: it names every way in which a request can end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drill.load.client import Body, Connection
from drill.load.ledger import Lost, Reason
from tests.drill.support import CHUNKED, OK, Handler, answering, in_loop, serving


async def fate(handler: Handler, **options: Any) -> str:
    """What the client calls the outcome of one GET."""
    async with serving(handler) as port:
        connection = await Connection.open("127.0.0.1", port, **options)
        try:
            answer = await connection.request("GET", "/")
        except Lost as lost:
            return str(lost)
        finally:
            connection.close()
        return f"{answer.head.status} {answer.body.decode()}"


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        pytest.param(answering(OK), "200 ok", id="clean"),
        pytest.param(answering(CHUNKED + b"2\r\nok\r\n0\r\n\r\n"), "200 ok", id="chunked"),
        pytest.param(
            answering(CHUNKED + b"2;x=y\r\nok\r\n0\r\nTrailer: 1\r\n\r\n"), "200 ok", id="trailer"
        ),
        pytest.param(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), "200 ok", id="interim"),
        pytest.param(answering(b"HTTP/1.1 204 No Content\r\n\r\n"), "204 ", id="no body"),
        pytest.param(answering(b"HTTP/1.0 200 OK\r\n\r\nok"), "200 ok", id="until the close"),
        pytest.param(
            answering(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"), "503 ", id="status"
        ),
        pytest.param(answering(b""), Reason.CLOSED, id="closed"),
        pytest.param(answering(b"", reset=True), Reason.RESET, id="reset"),
        pytest.param(answering(b"HTTP/1.1 200"), Reason.TRUNCATED, id="cut in the head"),
        pytest.param(answering(OK[:-1]), Reason.TRUNCATED, id="cut in the body"),
        pytest.param(answering(CHUNKED + b"2\r\nok\r\n"), Reason.TRUNCATED, id="no last chunk"),
        pytest.param(answering(CHUNKED + b"2\r\nok\r\n0\r\n"), Reason.TRUNCATED, id="no last line"),
        pytest.param(
            answering(b"SSH-2.0\r\n\r\n"), "answered with invalid HTTP 'SSH-2.0'", id="no HTTP"
        ),
        pytest.param(
            answering(CHUNKED + b"zz\r\n"), "answered with invalid HTTP b'zz'", id="malformed chunk"
        ),
    ],
)
def test_the_client_names_every_end(handler: Handler, outcome: str) -> None:
    async def check() -> None:
        assert await fate(handler) == outcome

    in_loop(check())


def test_a_reset_in_the_middle_of_an_answer_has_cut_it_off() -> None:
    async def check() -> None:
        begun = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(CHUNKED + b"2\r\nok\r\n")(reader, writer)
            await begun.wait()
            await answering(reset=True)(reader, writer)

        async with serving(handle) as port:
            connection = await Connection.open("127.0.0.1", port)
            parts = connection.parts(await connection.start("GET", "/"))
            assert await anext(parts) == b"ok"
            begun.set()
            with pytest.raises(Lost, match=Reason.TRUNCATED):
                await anext(parts)
            connection.close()

    in_loop(check())


def test_silence_times_out() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def check() -> None:
        assert await fate(silent, patience=0.05) == Reason.TIMEOUT

    in_loop(check())


def test_nobody_listening_is_a_refusal() -> None:
    async def check() -> None:
        async with serving(answering()) as port:
            pass
        with pytest.raises(Lost) as caught:
            await Connection.open("127.0.0.1", port)
        assert caught.value.reason is Reason.REFUSED

    in_loop(check())


def test_an_upload_stops_when_the_answer_comes_early() -> None:
    async def check() -> None:
        sent = 0

        async def parts() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:  # a part for every turn of the loop, so only the answer ends it
                sent += 1
                yield b"x"
                await asyncio.sleep(0)

        refusal = b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n"

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(refusal)(reader, writer)
            await reader.read()

        async with serving(handle) as port:
            connection = await Connection.open("127.0.0.1", port)
            answer = await connection.request("POST", "/", Body(10**9, parts()))
            connection.close()
        assert answer.head.status == 413
        assert sent > 0

    in_loop(check())
