"""A name of a database that can be moved to another server, as DNS does at a failover."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit


class Name:
    """Connections to ``port`` go to ``target``; those that exist stay where they are."""

    def __init__(self) -> None:
        self.port = 0
        self.target = 0
        self._open: set[asyncio.StreamWriter] = set()

    def url(self, name: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def move_to(self, url: str) -> None:
        self.target = urlsplit(url).port or 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add(back)
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
        writer.close()

    async def close(self) -> None:
        for writer in self._open:
            writer.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


@contextlib.asynccontextmanager
async def a_name() -> AsyncIterator[Name]:
    name = Name()
    server = await asyncio.start_server(name._serve, "127.0.0.1", 0)
    name.port = server.sockets[0].getsockname()[1]
    try:
        yield name
    finally:
        server.close()
        await name.close()
