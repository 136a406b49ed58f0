"""List and watch: every object that matches, and every change of them, for ever.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Literal

from drill.backend import Manifest
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
