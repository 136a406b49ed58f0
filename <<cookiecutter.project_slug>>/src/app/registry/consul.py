"""Consul, by the HTTP API of an agent: https://developer.hashicorp.com/consul/api-docs/agent."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from app.registry.client import Entry, Http, Seen, UnknownEntryError, secret
from app.registry.settings import Registry

#: Time after which Consul forgets an entry that stays critical; at least 1 m.
FORGET = "1m"


class Consul:
    """An agent. It must always be the same one, because each has entries of its own."""

    def __init__(self, settings: Registry) -> None:
        self._settings = settings
        self.http = Http(settings, self._credentials)

    def _credentials(self) -> Mapping[str, str]:
        token = secret(self._settings.token, self._settings.token_file)
        return {"x-consul-token": token} if token else {}

    async def register(self, entry: Entry, *, well: bool, note: str) -> None:
        body: dict[str, Any] = {
            "ID": entry.id,
            "Name": entry.service,
            "Address": entry.address,
            "Port": entry.port,
            "Tags": list(entry.tags),
            "Meta": entry.facts(),
        }
        if self._settings.strategy != "event":
            body["Check"] = {**self._check(entry), "Status": "passing" if well else "critical"}
        await self._put("/v1/agent/service/register?replace-existing-checks=true", json=body)
        if self._settings.strategy == "event":
            query = {"enable": str(not well).lower(), "reason": note}
            path = f"/v1/agent/service/maintenance/{quote(entry.id, safe='')}"
            await self._put(path, params=query)

    def _check(self, entry: Entry) -> dict[str, object]:
        settings = self._settings
        check: dict[str, object] = {
            "CheckID": f"service:{entry.id}",
            "DeregisterCriticalServiceAfter": FORGET,
        }
        if settings.strategy == "heartbeat":
            return {**check, "Name": "readiness, by heartbeat", "TTL": f"{settings.ttl_seconds}s"}
        return {
            **check,
            "Name": "readiness, by probe",
            "HTTP": entry.health,
#% if cookiecutter.tls == "yes"
            "TLSSkipVerify": True,  # it asks by address, as the kubelet does
#% endif
            "Interval": f"{settings.interval_seconds:g}s",
            "Timeout": f"{settings.timeout_seconds:g}s",
            "SuccessBeforePassing": settings.successes,
            "FailuresBeforeCritical": settings.failures,
        }

    async def beat(self, entry: Entry, *, well: bool, note: str) -> None:
        status = {"Status": "passing" if well else "critical", "Output": note}
        check = quote(f"service:{entry.id}", safe="")
        await self._put(f"/v1/agent/check/update/{check}", unknown=True, json=status)

    async def deregister(self, entry: Entry) -> None:
        response = await self.http.call(
            "PUT", f"/v1/agent/service/deregister/{quote(entry.id, safe='')}"
        )
        if not response.ok and response.status != 404:  # older versions answer 200 for unknown ones
            raise response.error()

    async def read(self, entry: Entry) -> Seen:
        path = f"/v1/agent/health/service/id/{quote(entry.id, safe='')}?format=text"
        response = await self.http.call("GET", path)
        match response.status:
            case 200 if response.text.strip() == "passing":
                return "listed"
            case 429 | 503:  # warning, critical
                return "not listed"
            case 404:
                return "unknown"
        raise response.error()

    async def _put(self, path: str, *, unknown: bool = False, **content: Any) -> None:
        response = await self.http.call("PUT", path, **content)
        if response.ok:
            return
        # Versions before 1.11 answer 500 with `CheckID "…" does not have associated TTL`.
        forgotten = response.status == 404 or "does not have associated TTL" in response.text
        if unknown and forgotten:
            raise UnknownEntryError("the registry does not know the entry")
        raise response.error()
