"""[drill.cluster.watch] List and watch: every object that matches, and every change of them, for ever.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes

[drill.cluster.logs] A container's log, line by line, over cut connections and restarts, each line once.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Literal

from drill.chart import Manifest
from drill.cluster.api import PATIENCE_SECONDS, Api, ApiError

#: The server ends a watch after this; a client that hears nothing for longer lost the connection.
WATCH_SECONDS = 60
SILENCE_SECONDS = WATCH_SECONDS + 15.0
PAUSE_SECONDS = 0.2

Kind = Literal["ADDED", "MODIFIED", "DELETED", "LISTED"]


async def changes(api: Api, path: str, **query: str) -> AsyncIterator[tuple[Kind, Manifest]]:
    """What there is, then ("LISTED", {}), then each change; listed again where versions expired.

    After such a second list only what differs is told, deletions too. Raises
    ApiError when the server refuses, or is out of reach for too long.
    """
    known: dict[str, Manifest] = {}
    while True:
        page = await api.get(path, **query)
        for kind, found in differences(known, page.get("items") or []):
            yield kind, found
        yield "LISTED", {}
        async for kind, found in watch(api, path, page["metadata"]["resourceVersion"], query):
            uid = found["metadata"]["uid"]
            if kind == "DELETED":
                known.pop(uid, None)
            else:
                known[uid] = found
            yield kind, found
        await asyncio.sleep(PAUSE_SECONDS)


def differences(known: dict[str, Manifest], listed: list[Manifest]) -> list[tuple[Kind, Manifest]]:
    """Brings ``known`` up to ``listed``; returns the changes that no watch has told."""
    now = {found["metadata"]["uid"]: found for found in listed}
    told: list[tuple[Kind, Manifest]] = [
        ("DELETED", found) for uid, found in known.items() if uid not in now
    ]
    for uid, found in now.items():
        if uid not in known:
            told.append(("ADDED", found))
        elif version(known[uid]) != version(found):
            told.append(("MODIFIED", found))
    known.clear()
    known.update(now)
    return told


async def watch(
    api: Api, path: str, since: str, query: dict[str, str]
) -> AsyncIterator[tuple[Kind, Manifest]]:
    """The changes since a version; ends when the server no longer has that version."""
    loop = asyncio.get_running_loop()
    heard = loop.time()
    while True:
        options = {
            **query,
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        try:
            async with aclosing(api.lines(path, options, SILENCE_SECONDS)) as lines:
                async for line in lines:
                    heard = loop.time()
                    event = json.loads(line)
                    if event["type"] == "ERROR":  # 410 in most cases; a new list is right for all
                        return
                    since = version(event["object"])
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]
            heard = loop.time()
        except ValueError:
            pass  # cut off in the middle of a line
        except ApiError as error:
            if error.status == 410:
                return
            if not error.passing or loop.time() - heard > PATIENCE_SECONDS:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


def version(found: Manifest) -> str:
    return str(found["metadata"]["resourceVersion"])


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
