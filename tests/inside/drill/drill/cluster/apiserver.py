"""An API server over a ``Store``: what the backend asks of one, and the ways in which one fails.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from tests.drill.cluster.store import Json, Store, merged, now, selected

PATH = re.compile(
    r"(?P<group>/api/v1|/apis/[^/]+/[^/]+)(?P<space>/namespaces/[^/]+)?"
    r"/(?P<kind>[a-z]+)(/(?P<name>[^/]+)(/(?P<part>.+))?)?"
)
KINDS = {
    "/api/v1": {
        "pods": "Pod",
        "services": "Service",
        "configmaps": "ConfigMap",
        "serviceaccounts": "ServiceAccount",
    },
    "/apis/apps/v1": {"deployments": "Deployment"},
    "/apis/batch/v1": {"jobs": "Job"},
    "/apis/policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "/apis/networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy"},
    "/apis/rbac.authorization.k8s.io/v1": {"roles": "Role", "rolebindings": "RoleBinding"},
}
REASONS = {
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
}


@dataclass
class Fault:
    """Answers ``status`` to the next ``times`` requests of a method whose path has ``part``.

    0 cuts the connection.
    """

    method: str
    part: str
    status: int
    times: int = 1_000_000


@dataclass
class ApiServer:
    store: Store
    token: str = "sesame"
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    #: Lines of logs, with their times, by the paths of pods.
    logs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    proxied: int = 200
    #: What was applied, as it came.
    applied: list[Json] = field(default_factory=list)
    #: So many writes are made and not answered.
    deaf: int = 0
    #: What a watch from a forgotten version gets: an event, or a status.
    as_event: bool = False
    #: Connections with a watch or a log.
    streams: set[Any] = field(default_factory=set)

    async def start(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return (
            str(site.name)
            if site.name.count(":") == 2 and not site.name.endswith(":0")
            else (f"http://127.0.0.1:{self._runner.addresses[0][1]}")
        )

    async def stop(self) -> None:
        self.cut()
        await self._runner.cleanup()

    def cut(self) -> None:
        """Every watch and log, in the middle of a line."""
        for transport in list(self.streams):
            transport.abort()

    def forget(self, *, as_event: bool) -> None:
        """All versions up to now."""
        self.store.version += 1
        self.store.forgotten = self.store.version
        self.as_event = as_event

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except ConnectionResetError:  # cut by the test, or by the client
            return web.Response()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if (status := self._fault(request)) is not None:
            if status == 0 and request.transport is not None:
                request.transport.abort()
            return failure(status or 500, "as the test has it")
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return failure(401, "Unauthorized")
        if request.path in KINDS:
            kinds = [
                {"name": name, "kind": kind, "namespaced": True}
                for name, kind in KINDS[request.path].items()
            ]
            return web.json_response({"kind": "APIResourceList", "resources": kinds})
        match = PATH.fullmatch(request.path)
        if match is None:
            return failure(404, "the server could not find the requested resource")
        if match["name"] is None:
            return await self._collection(request)
        part = match["part"] or ""
        path = request.path.removesuffix(f"/{part}")
        if part.startswith("proxy/"):
            return web.Response(status=self.proxied)
        if path not in self.store.objects and request.method != "PATCH":
            return failure(404, f'{match["kind"]} "{match["name"]}" not found')
        if part:
            return await (self._log if part == "log" else self._eviction)(request, path)
        return await self._object(request, path)

    def _fault(self, request: web.Request) -> int | None:
        for fault in self.faults:
            if fault.times and fault.method == request.method and fault.part in request.path:
                fault.times -= 1
                return fault.status
        return None

    async def _eviction(self, request: web.Request, path: str) -> web.StreamResponse:
        assert request.path.endswith("/eviction")
        assert (await request.json())["apiVersion"] == "policy/v1"
        self._delete(path)
        return web.json_response({"kind": "Status", "status": "Success"}, status=201)

    async def _object(self, request: web.Request, path: str) -> web.Response:
        store = self.store
        if request.method == "PUT":
            body = await request.json()
            if body["metadata"]["resourceVersion"] != version(store.objects[path]):
                return failure(409, "the object has been modified")
            store.put(path, body)
            if self.deaf and request.transport is not None:
                self.deaf -= 1
                request.transport.abort()
        elif request.method == "PATCH":
            body = await request.json()
            if request.content_type == "application/apply-patch+yaml":
                assert request.query["fieldManager"] == "drill"
                self.applied.append(json.loads(json.dumps(body)))
                store.put(path, defaulted(body, path))
            elif path not in store.objects:
                return failure(404, f"{path} not found")
            else:
                assert request.content_type == "application/merge-patch+json"
                store.put(path, merged(store.objects[path], body))
        elif request.method == "DELETE":
            found = store.objects[path]
            self._delete(path, request.query.get("gracePeriodSeconds"))
            return web.json_response(found)
        return web.json_response(store.objects[path])

    def _delete(self, path: str, grace: str | None = None) -> None:
        found = self.store.objects[path]
        if "/pods/" not in path or found.get("status", {}).get("phase") in ("Failed", "Succeeded"):
            self.store.remove(path)
        elif "deletionTimestamp" not in found["metadata"]:
            found = json.loads(json.dumps(found))
            own = found["spec"].get("terminationGracePeriodSeconds", 30)
            found["metadata"]["deletionGracePeriodSeconds"] = own if grace is None else int(grace)
            found["metadata"]["deletionTimestamp"] = now()
            self.store.put(path, found)

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        query, store = request.query, self.store
        chosen = query.get("labelSelector", ""), query.get("fieldSelector", "")
        if "watch" not in query:
            items = [
                found
                for path, found in store.objects.items()
                if path.rpartition("/")[0] == request.path and selected(found, *chosen)
            ]
            return web.json_response(
                {"metadata": {"resourceVersion": str(store.version)}, "items": items}
            )
        since = int(query["resourceVersion"])
        if since < store.forgotten and not self.as_event:
            return failure(410, "too old resource version")
        response = await self._stream(request)
        while True:
            news, latest = store.news, store.version
            if since < store.forgotten:
                await send(response, {"type": "ERROR", "object": {"kind": "Status", "code": 410}})
                return response
            for at, kind, collection, found in list(store.history):
                if since < at <= latest and collection == request.path and selected(found, *chosen):
                    await send(response, {"type": kind, "object": found})
            since = latest
            bookmark = {"metadata": {"resourceVersion": str(since)}}
            await send(response, {"type": "BOOKMARK", "object": bookmark})
            await news.wait()

    async def _log(self, request: web.Request, path: str) -> web.StreamResponse:
        lines = self.logs.setdefault(path, [])
        statuses = self.store.objects[path].get("status", {}).get("containerStatuses")
        if not statuses:
            return failure(400, "the container is waiting to start: ContainerCreating")
        # The kubelet gets whole seconds from the API server.
        since = datetime.fromisoformat(request.query.get("sinceTime", "2000-01-01T00:00:00Z"))
        response = await self._stream(request)
        sent = 0
        while True:
            news = self.store.news
            for at, line in lines[sent:]:
                sent += 1
                if datetime.fromisoformat(at) >= since.replace(microsecond=0):
                    await response.write(f"{at} {line}\n".encode())
            found = self.store.objects.get(path)
            if found is None or "running" not in found["status"]["containerStatuses"][0]["state"]:
                return response
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await news.wait()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        self.streams.add(request.transport)
        return response


async def send(response: web.StreamResponse, event: Json) -> None:
    await response.write(json.dumps(event).encode() + b"\n")


def failure(status: int, message: str) -> web.Response:
    body = {"kind": "Status", "message": message, "reason": REASONS.get(status, ""), "code": status}
    return web.json_response(body, status=status)


def version(found: Json) -> str:
    return str(found["metadata"]["resourceVersion"])


def defaulted(found: Json, path: str) -> Json:
    """What the API server adds of itself, as far as somebody asks for it."""
    if found["kind"] != "Namespace":
        found["metadata"].setdefault("namespace", path.split("/namespaces/")[1].split("/")[0])
    if found["kind"] == "Service":
        found["spec"].setdefault("clusterIPs", ["fd00::1", "127.0.0.1"])
    if found["kind"] == "Deployment":
        found["spec"].setdefault("replicas", 1)
    return found
