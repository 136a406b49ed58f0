"""Nacos 3, as far as its documents of the HTTP client API go."""

import json
import time
import urllib.request
from dataclasses import dataclass, field

from tests.registry.server import Answer, Json, RegistryServer, Request

CREDENTIALS = {"APP_REGISTRY__USERNAME": "web", "APP_REGISTRY__PASSWORD": "secret-of-the-test"}
STRATEGIES = ("heartbeat", "event")
INSTANCE = "/nacos/v3/client/ns/instance"
#: Identity of an instance: namespace, group, service, address, port.
Key = tuple[str, str, str, str, int]


@dataclass
class Instance:
    form: dict[str, str]
    beat: float = field(default_factory=time.monotonic)

    @property
    def metadata(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(self.form["metadata"])
        return found

    def age(self) -> float:
        """Milliseconds since the last heartbeat; 0 for a persistent one."""
        return 0.0 if self.form["ephemeral"] == "false" else 1e3 * (time.monotonic() - self.beat)

    def healthy(self) -> bool:
        return self.age() < float(self.metadata.get("preserved.heart.beat.timeout", 15000))

    def deleted(self) -> bool:
        return self.age() > float(self.metadata.get("preserved.ip.delete.timeout", 30000))


class Fake(RegistryServer):
    def __init__(self) -> None:
        self.instances: dict[Key, Instance] = {}
        self.password = ""
        self.ttl = 18000.0
        self.unknown_status = 200
        self.refused = 0
        self._tokens: dict[str, float] = {}
        super().__init__()

    def act(self, request: Request) -> str:
        match request.method, request.path:
            case "POST", "/nacos/v3/auth/user/login":
                return "login"
            case "POST", path if path == INSTANCE:
                return "beat" if request.form.get("heartBeat") == "true" else "register"
            case "DELETE", path if path == INSTANCE:
                return "deregister"
            case "GET", path if path == f"{INSTANCE}/list":
                return "list" if "x-reader" in request.headers else "read"
        return f"{request.method} {request.path}"

    def answer(self, act: str, request: Request) -> Answer:
        if act == "login":
            return self._login(request.form)
        expires = self._tokens.get(request.headers.get("accesstoken", ""), 0.0)
        if self.password and act != "list" and time.monotonic() > expires:
            self.refused += 1
            return failure(403, 10001, "access denied")
        if act in ("read", "list"):
            return self._list(request.query)
        form = request.query if act == "deregister" else request.form
        for name in ("serviceName", "ip", "port"):
            if not form.get(name):
                return failure(400, 10000, "parameter missing")
        key = (
            form.get("namespaceId", "public"),
            form.get("groupName", "DEFAULT_GROUP"),
            form["serviceName"],
            form["ip"],
            int(form["port"]),
        )
        found = self.instances.get(key)
        if act == "deregister":
            self.instances.pop(key, None)
        elif act == "register":
            assert all(isinstance(v, str) for v in json.loads(form["metadata"]).values())
            self.instances[key] = Instance(form)
        elif found is None or found.deleted():
            self.instances.pop(key, None)
            return failure(self.unknown_status, 21003, "instance not found")
        else:
            found.beat = time.monotonic()
        return Answer(200, json.dumps({"code": 0, "message": "success", "data": "ok"}))

    def _login(self, form: dict[str, str]) -> Answer:
        if (form["username"], form["password"]) != ("web", self.password):
            return Answer(403, "unknown user!")
        token = f"token-{len(self._tokens)}"
        self._tokens[token] = time.monotonic() + self.ttl
        found = {"accessToken": token, "tokenTtl": self.ttl, "globalAdmin": False}
        return Answer(200, json.dumps({**found, "username": "web"}))

    def _list(self, query: dict[str, str]) -> Answer:
        group = query.get("groupName", "DEFAULT_GROUP")
        scope = (query.get("namespaceId", "public"), group, query["serviceName"])
        found = [
            {
                "ip": key[3],
                "port": key[4],
                "weight": 1.0,
                "healthy": one.healthy(),
                "enabled": True,
                "ephemeral": one.form["ephemeral"] == "true",
                "clusterName": "DEFAULT",
                "serviceName": f"{group}@@{key[2]}",
                "metadata": one.metadata,
            }
            for key, one in self.instances.items()
            if key[:3] == scope and one.form["enabled"] == "true" and not one.deleted()
        ]
        return Answer(200, json.dumps({"code": 0, "message": "success", "data": found}))

    def readers(self) -> set[tuple[str, int]]:
        request = urllib.request.Request(f"{self.url}{INSTANCE}/list?serviceName=web")
        request.add_header("x-reader", "1")
        with urllib.request.urlopen(request) as response:
            found = json.load(response)["data"]
        return {(one["ip"], one["port"]) for one in found if one["healthy"]}

    def forget(self) -> None:
        with self.lock:
            self.instances.clear()

    def demand(self, credentials: bool) -> None:
        self.password = CREDENTIALS["APP_REGISTRY__PASSWORD"] if credentials else "another"

    def expire_tokens(self) -> None:
        self._tokens = dict.fromkeys(self._tokens, 0.0)

    def facts(self) -> Json:
        ((key, one),) = self.instances.items()
        meta = dict(one.metadata)
        tags = meta.pop("tags", "").split(",")
        own = {"service": key[2], "id": meta["pod"], "tags": tags}
        return {**own, "address": key[3], "port": key[4], "meta": meta}


def failure(status: int, code: int, message: str) -> Answer:
    return Answer(status, json.dumps({"code": code, "message": message, "data": None}))
