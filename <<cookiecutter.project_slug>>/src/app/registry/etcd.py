"""etcd, by the JSON gateway of its API: https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway.

A pod is a key with a JSON value. Clients read the prefix of the service, or watch it.
"""

import json
from base64 import b64decode, b64encode
from typing import Any

from app.registry.client import (
    Entry,
    Http,
    RefusedError,
    RegistryError,
    Seen,
    UnknownEntryError,
    secret,
)
from app.registry.settings import Registry

#: What etcd 3.4 answers with 400 to a token that it does not know any more; newer ones with 401.
OLD_TOKEN = ("invalid auth token", "revision of auth store is old")


class Etcd:
    """A member of a cluster. A pod that is not well has no key."""

    def __init__(self, settings: Registry) -> None:
        self._settings = settings
        self._lease = ""
        self._token = ""
        self.http = Http(settings, lambda: {"authorization": self._token} if self._token else {})

    async def register(self, entry: Entry, *, well: bool, note: str) -> None:
        if not well:
            await self.deregister(entry)
            return
        put = {"key": self._key(entry), "value": _base64(_value(entry))}
        if self._settings.strategy == "heartbeat":
            granted = await self._call("/v3/lease/grant", {"TTL": self._settings.ttl_seconds})
            put["lease"] = self._lease = str(granted.get("ID", ""))
        await self._call("/v3/kv/put", put)

    async def beat(self, entry: Entry, *, well: bool, note: str) -> None:
        if not well:
            return
        kept = await self._call("/v3/lease/keepalive", {"ID": self._lease})
        result = kept.get("result")
        if not (isinstance(result, dict) and int(result.get("TTL", 0)) > 0):
            raise UnknownEntryError("the lease of the entry has expired")

    async def deregister(self, entry: Entry) -> None:
        await self._call("/v3/kv/deleterange", {"key": self._key(entry)})

    async def read(self, entry: Entry) -> Seen:
        found = await self._call("/v3/kv/range", {"key": self._key(entry)})
        try:
            (one,) = found.get("kvs") or [{}]
            known = json.loads(b64decode(one["value"]))
            same = (known["address"], known["port"]) == (entry.address, entry.port)
        except (KeyError, TypeError, ValueError):
            return "unknown"
        return "listed" if same else "unknown"

    def _key(self, entry: Entry) -> str:
        return _base64(f"{self._settings.prefix}{entry.service}/{entry.id}")

    async def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Call the gateway, with a new token if the old one is refused."""
        if self._settings.username and not self._token:
            await self._log_in()
        try:
            return await self._post(path, body)
        except RefusedError:
            if not self._settings.username:
                raise
        await self._log_in()
        return await self._post(path, body)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self.http.call("POST", path, json=body)
        # A token that was lost with a restart, or is older than a change of users.
        if response.status == 400 and any(text in response.text for text in OLD_TOKEN):
            raise RefusedError("the registry does not accept the token")
        if not response.ok:
            raise response.error()
        found: dict[str, Any] = response.json()
        if "error" in found:  # of a stream, which has begun with 200
            raise RegistryError(f"the registry responds with an error: {found['error']}")
        return found

    async def _log_in(self) -> None:
        self._token = ""
        password = secret(self._settings.password, self._settings.password_file)
        form = {"name": self._settings.username, "password": password}
        self._token = str((await self._post("/v3/auth/authenticate", form)).get("token", ""))


def _value(entry: Entry) -> str:
    """What clients read."""
    where = {"address": entry.address, "port": entry.port, "tags": list(entry.tags)}
    return json.dumps({**where, "meta": entry.facts()})


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
