"""A container's log, line by line, over cut connections and restarts, each line once."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from drill.cluster.api import PATIENCE_SECONDS, Api, ApiError

PAUSE_SECONDS = 0.2


async def follow(
    api: Api, path: str, container: str, over: Callable[[], bool]
) -> AsyncIterator[str]:
    """The log at ``path``, until the pod is gone or ``over`` says that nothing more is written.

    The server takes up at whole seconds only, so that lines come again. Each
    has its time, to the nanosecond: those before the last one are dropped,
    and as many of the very same time as have been told.
    """
    loop = asyncio.get_running_loop()
    last, told, since, heard = "", 0, "", loop.time()
    while True:
        # Asked before the log is read: what is written before a container's end is in it.
        final = over()
        known, again, opened = last, told, loop.time()
        query = {"container": container, "follow": "true", "timestamps": "true"}
        try:
            query |= {"sinceTime": since} if since else {}
            async with aclosing(api.lines(path, query)) as lines:
                async for raw in lines:
                    heard = loop.time()
                    time, _, line = raw.decode("utf-8", "replace").partition(" ")
                    at = sortable(time)
                    if at < known or (at == known and again > 0):
                        again -= at == known
                        continue
                    known = ""  # caught up; from here a line may be late, none comes again
                    if at > last:
                        last, told, since = at, 0, time
                    told += at == last
                    yield line
            heard = loop.time()
        except ApiError as error:
            if error.status == 404:
                return
            # 400: no container yet, or none any more; it may be started again.
            if error.status != 400 and (
                not error.passing or loop.time() - heard > PATIENCE_SECONDS
            ):
                raise
        if final:
            return
        if loop.time() - opened < PAUSE_SECONDS:  # else at once: its last words may be missing
            await asyncio.sleep(PAUSE_SECONDS)


def sortable(time: str) -> str:
    """RFC 3339 with its fraction at full length: writers leave zeros at the end out."""
    fraction = re.match(r"\.(\d+)", time[19:])
    return f"{time[:19]}.{fraction[1] if fraction else '':0<9}"
