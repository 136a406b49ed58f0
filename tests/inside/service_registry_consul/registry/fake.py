"""A Consul agent, as far as https://developer.hashicorp.com/consul/api-docs/agent describes it."""

import json
import re
import ssl
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import unquote

from tests.registry.server import Answer, Json, RegistryServer, Request

ACTS = {
    r"PUT /v1/agent/service/register": "register",
    r"PUT /v1/agent/service/deregister/(.+)": "deregister",
    r"PUT /v1/agent/service/maintenance/(.+)": "maintenance",
    r"PUT /v1/agent/check/update/(.+)": "beat",
    r"GET /v1/agent/health/service/id/(.+)": "read",
    r"GET /v1/health/service/(.+)": "list",
}
#: The credentials that a service is given, and what the agent wants of them.
CREDENTIALS = {"APP_REGISTRY__TOKEN": "secret-of-the-test"}
STRATEGIES = ("heartbeat", "probe", "event")


@dataclass
class Service:
    """A registered service with its check."""

    body: Json
    status: str = "passing"
    output: str = ""
    maintenance: bool = False
    beat: float = field(default_factory=time.monotonic)
    good: int = 0
    bad: int = 0

    @property
    def check(self) -> Json:
        found: Json = self.body.get("Check", {})
        return found

    def health(self) -> str:
        ttl = seconds(self.check["TTL"]) if "TTL" in self.check else None
        expired = ttl is not None and time.monotonic() > self.beat + ttl
        return "critical" if expired or self.maintenance else self.status


class Fake(RegistryServer):
    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.token = ""
        #: As versions before 1.11 do.
        self.old = False
        super().__init__()

    def act(self, request: Request) -> str:
        line = f"{request.method} {request.path}"
        return next((act for form, act in ACTS.items() if re.fullmatch(form, line)), line)

    def answer(self, act: str, request: Request) -> Answer:
        if act == "list":
            return self._list(request)
        if self.token and request.headers.get("x-consul-token") != self.token:
            return Answer(403, "Permission denied: token lacks permission 'service:write'")
        name = unquote(request.path.rpartition("/")[2])
        service = self.services.get(name.removeprefix("service:"))
        if act == "register":
            return self._register(request)
        if act == "beat":
            return self._beat(name, service, request)
        if service is None:
            if act == "deregister" and self.old:
                return Answer()
            return Answer(404, f'Unknown service ID "{name}". Ensure that the service ID is passed')
        if act == "deregister":
            del self.services[name]
        elif act == "maintenance":
            service.maintenance = request.query["enable"] == "true"
        elif act == "read":
            health = service.health()
            return Answer({"passing": 200, "warning": 429, "critical": 503}[health], health)
        return Answer()

    def _beat(self, name: str, service: Service | None, request: Request) -> Answer:
        if service is None or "TTL" not in service.check or not name.startswith("service:"):
            unknown = f'Unknown check ID "{name}". Ensure that the check ID is passed'
            old = f'CheckID "{name}" does not have associated TTL'
            return Answer(500, old) if self.old else Answer(404, unknown)
        service.status, service.output = request.json["Status"], request.json["Output"]
        service.beat = time.monotonic()
        return Answer()

    def _register(self, request: Request) -> Answer:
        body = request.json
        assert request.query == {"replace-existing-checks": "true"}
        known = {"ID", "Name", "Address", "Port", "Tags", "Meta", "Check"}
        if not body.get("Name") or set(body) - known:
            return Answer(400, "Missing service name")
        assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", key) for key in body["Meta"])
        before = self.services.get(body["ID"])
        service = Service(body)
        if before is not None:  # which survives a new registration
            service.maintenance = before.maintenance
        if check := body.get("Check"):
            assert seconds(check["DeregisterCriticalServiceAfter"]) >= 60
            service.status = check.get("Status", "critical")
        self.services[body["ID"]] = service
        if "HTTP" in service.check:
            threading.Thread(target=self._probe, args=(service,), daemon=True).start()
        return Answer()

    def _probe(self, service: Service) -> None:
        """Ask for its health until it is not registered any more."""
        check = service.check
        context = ssl.create_default_context()
        if check.get("TLSSkipVerify"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        while self.services.get(service.body["ID"]) is service:
            time.sleep(seconds(check["Interval"]))
            try:
                timeout = seconds(check["Timeout"])
                with urllib.request.urlopen(check["HTTP"], timeout=timeout, context=context):
                    service.good, service.bad = service.good + 1, 0
            except OSError:
                service.good, service.bad = 0, service.bad + 1
            if service.good >= max(1, check["SuccessBeforePassing"]):
                service.status = "passing"
            if service.bad >= max(1, check["FailuresBeforeCritical"]):
                service.status = "critical"

    def _list(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        found = [
            {"Service": {"Address": one.body["Address"], "Port": one.body["Port"]}}
            for one in self.services.values()
            if one.body["Name"] == name and one.health() == "passing"
        ]
        return Answer(200, json.dumps(found))

    def readers(self) -> set[tuple[str, int]]:
        with urllib.request.urlopen(f"{self.url}/v1/health/service/web?passing=true") as response:
            found = json.load(response)
        return {(one["Service"]["Address"], one["Service"]["Port"]) for one in found}

    def forget(self) -> None:
        with self.lock:
            self.services.clear()

    def demand(self, credentials: bool) -> None:
        """Accept those of CREDENTIALS, or others."""
        self.token = CREDENTIALS["APP_REGISTRY__TOKEN"] if credentials else "another"

    def facts(self) -> Json:
        """What is known of the only entry, in the words of ``Entry``."""
        (service,) = self.services.values()
        body = service.body
        known = {"service": body["Name"], "id": body["ID"], "tags": body["Tags"]}
        return {**known, "address": body["Address"], "port": body["Port"], "meta": body["Meta"]}


def seconds(text: str) -> float:
    """Parse a duration of Go with one unit."""
    number, unit = re.fullmatch(r"([0-9.]+)(ms|s|m)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]
