"""Nacos 3, by its HTTP client API: https://nacos.io/en/docs/v3.0/manual/user/open-api."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

from app.registry.client import (
    Entry,
    Http,
    RefusedError,
    RegistryError,
    Response,
    Seen,
    UnknownEntryError,
    secret,
)
from app.registry.settings import Registry

#: Share of the life of an access token after which it is renewed.
RENEW = 0.8


class Nacos:
    """A server, or the address of a cluster. An instance that is not well has ``enabled=false``."""

    def __init__(self, settings: Registry) -> None:
        self._settings = settings
        self._context = "" if urlsplit(settings.url).path.strip("/") else "/nacos"
        self._token = ""
        self._renew_at = 0.0
        self.http = Http(settings, lambda: {"accessToken": self._token} if self._token else {})

    async def register(self, entry: Entry, *, well: bool, note: str) -> None:
        heartbeat, ttl = self._settings.strategy == "heartbeat", self._settings.ttl_seconds * 1000
        metadata = {**entry.facts(), "note": note}
        if entry.tags:
            metadata["tags"] = ",".join(entry.tags)
        if heartbeat:
            metadata |= {
                "preserved.heart.beat.interval": str(round(self._settings.interval_seconds * 1000)),
                "preserved.heart.beat.timeout": str(ttl),
                "preserved.ip.delete.timeout": str(2 * ttl),
            }
        form = {
            "healthy": "true",
            "enabled": str(well).lower(),
            "ephemeral": str(heartbeat).lower(),
            "metadata": json.dumps(metadata),
        }
        await self._call("POST", "", data={**self._identity(entry), **form})

    async def beat(self, entry: Entry, *, well: bool, note: str) -> None:
        form = {**self._identity(entry), "ephemeral": "true", "heartBeat": "true"}
        await self._call("POST", "", data=form)

    async def deregister(self, entry: Entry) -> None:
        ephemeral = str(self._settings.strategy == "heartbeat").lower()
        await self._call("DELETE", "", params={**self._identity(entry), "ephemeral": ephemeral})

    async def read(self, entry: Entry) -> Seen:
        query = {name: self._identity(entry)[name] for name in ("serviceName", *self._scope())}
        found = await self._call("GET", "/list", params=query)
        for one in found if isinstance(found, list) else ():
            if isinstance(one, dict) and (one.get("ip"), one.get("port")) == (
                entry.address,
                entry.port,
            ):
                return "listed" if one.get("healthy") and one.get("enabled") else "not listed"
        return "unknown"

    def _scope(self) -> dict[str, str]:
        return {"namespaceId": self._settings.namespace, "groupName": self._settings.group}

    def _identity(self, entry: Entry) -> dict[str, str]:
        return {
            **self._scope(),
            "serviceName": entry.service,
            "ip": entry.address,
            "port": str(entry.port),
        }

    async def _call(self, method: str, path: str, **content: Any) -> Any:
        """Call the API of instances, with a new token if the old one is refused."""
        path = f"{self._context}/v3/client/ns/instance{path}"
        if self._settings.username and time.monotonic() >= self._renew_at:
            await self._log_in()
        try:
            return _data(await self.http.call(method, path, **content))
        except RefusedError:
            if not self._settings.username:
                raise
        await self._log_in()
        return _data(await self.http.call(method, path, **content))

    async def _log_in(self) -> None:
        self._token, self._renew_at = "", 0.0
        form = {
            "username": self._settings.username,
            "password": secret(self._settings.password, self._settings.password_file),
        }
        response = await self.http.call("POST", f"{self._context}/v3/auth/user/login", data=form)
        if not response.ok:
            raise response.error()
        found = response.json()
        try:
            token, seconds = str(found["accessToken"]), float(found["tokenTtl"])
        except (KeyError, TypeError, ValueError):
            raise RegistryError("the registry's login responds without an access token") from None
        self._token, self._renew_at = token, time.monotonic() + RENEW * seconds


def _data(response: Response) -> Any:
    """The data of a response whose code is 0."""
    found = response.json()
    match found.get("code"):
        case 0 if response.ok:
            return found.get("data")
        case 10001:
            raise RefusedError(f"the registry denies access: {response.error()}")
        case 21003:
            raise UnknownEntryError("the registry does not know the entry")
    raise response.error()
