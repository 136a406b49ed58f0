"""Objects with versions, as the API server keeps them."""

import asyncio
import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]


class Store:
    """Objects by their path, and every change of them in order."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.version = 100
        #: Version, type, collection and object of each change.
        self.history: list[tuple[int, str, str, Json]] = []
        #: Versions below are no longer known.
        self.forgotten = 0
        self.news = asyncio.Event()

    def all(self, kind: str) -> Iterator[tuple[str, Json]]:
        """Those of a resource, such as "pods", with their paths."""
        for path in list(self.objects):
            if path.split("/")[-2] == kind and path in self.objects:
                yield path, self.objects[path]

    def put(self, path: str, new: Json) -> Json:
        old = self.objects.get(path)
        new = deepcopy(new)
        meta = new["metadata"]
        meta.setdefault("uid", f"uid-{self.version + 1}")
        meta.setdefault("creationTimestamp", now())
        if old is None:
            meta["generation"] = 1
        else:
            meta |= {key: old["metadata"][key] for key in ("uid", "creationTimestamp")}
            bumped = old.get("spec") != new.get("spec")
            meta["generation"] = old["metadata"]["generation"] + bumped
            if same(old, new):
                return old
        return self._write(path, "MODIFIED" if old else "ADDED", new)

    def status(self, path: str, **status: Any) -> None:
        """Writes fields of an object's status."""
        found = deepcopy(self.objects[path])
        found["status"] = {**found.get("status", {}), **status}
        self.put(path, found)

    def remove(self, path: str) -> None:
        self._write(path, "DELETED", self.objects[path])
        del self.objects[path]

    def _write(self, path: str, kind: str, found: Json) -> Json:
        self.version += 1
        found["metadata"]["resourceVersion"] = str(self.version)
        self.objects[path] = found
        self.history.append((self.version, kind, path.rpartition("/")[0], deepcopy(found)))
        self.news.set()
        self.news = asyncio.Event()
        return found


def same(old: Json, new: Json) -> bool:
    def bare(found: Json) -> str:
        meta = {k: v for k, v in found["metadata"].items() if k != "resourceVersion"}
        return json.dumps({**found, "metadata": meta}, sort_keys=True)

    return bare(old) == bare(new)


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(old: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def selected(found: Json, labels: str, fields: str) -> bool:
    has = found["metadata"].get("labels", {})
    for pair in filter(None, labels.split(",")):
        name, _, value = pair.partition("=")
        if has.get(name) != value:
            return False
    for pair in filter(None, fields.split(",")):
        path, _, value = pair.partition("=")
        at: Any = found
        for key in path.split("."):
            at = at.get(key, {})
        if at != value:
            return False
    return True
