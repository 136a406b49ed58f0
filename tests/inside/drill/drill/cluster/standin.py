"""A cluster for tests: an API server, its controllers, a kubeconfig, and a service to call."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from drill.chart import Values
from drill.cluster.cluster import ClusterBackend, KubernetesCluster
from drill.load.ledger import Kind
from drill.load.routes import Call, Job, Routes
from drill.local.cluster import one_error
from drill.plan import Plan
from tests.drill.cluster.apiserver import ApiServer
from tests.drill.cluster.controllers import Controllers
from tests.drill.cluster.store import Store

Test = Callable[["Standin"], Coroutine[Any, Any, None]]
Run = Callable[[Test], None]

ROUTES = Routes(
    plain=Call("/hello"),
    slow=None,
    upload=None,
    job=Job("/jobs", "POST", "{}"),
    events=None,
    echo=Call("/echo"),
    shares={Kind.NEW: 3, Kind.KEPT: 1, Kind.CHECKED: 1, Kind.JOB: 1},
)


@dataclass
class Standin:
    server: ApiServer
    controllers: Controllers
    port: int
    said: list[str]

    @property
    def store(self) -> Store:
        return self.server.store

    def plan(self, **options: Any) -> Plan:
        return plan(self.port, **options)

    def backend(self, namespace: str = "default", release: str | None = None) -> ClusterBackend:
        return ClusterBackend("here", namespace, release, self.said.append)

    def open(self, **options: Any) -> KubernetesCluster:
        return self.backend().open(self.plan(**options))

    def left(self) -> set[str]:
        """The objects that the drill has not taken away, without those that were there before."""
        kinds = {path.split("/")[-2] for path in self.store.objects}
        return kinds - {"nodes", "namespaces", "endpointslices"}

    async def empty(self) -> None:
        """Returns when nothing is left; the load's pod ends after its Job has been removed."""
        while self.left():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def plan(port: int, **options: Any) -> Plan:
    """For a service on that port of 127.0.0.1."""
    values = Values(settings=(f"service.port={port}", "rollout.minReadySeconds=0"))
    return replace(Plan(values, replicas=2, rate=40, streams=1, routes=ROUTES), **options)


@asynccontextmanager
async def standin(folder: Path) -> AsyncIterator[Standin]:
    store = Store()
    server = ApiServer(store)
    controllers = Controllers(server, folder)
    store.put("/api/v1/namespaces/default", {"metadata": {"name": "default"}})
    for node in controllers.nodes:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        store.put(
            f"/api/v1/nodes/{node}", {"metadata": {"name": node}, "spec": {}, "status": ready}
        )
    address = await server.start()
    kubeconfig(folder / "config", address, server.token)
    # Controllers that fail end the test with their error: nothing else would ever happen in it.
    with one_error():
        async with service() as port, asyncio.TaskGroup() as tasks:
            task = tasks.create_task(controllers.run())
            try:
                yield Standin(server, controllers, port, [])
            finally:
                task.cancel()
                await controllers.stop()
                await server.stop()


def kubeconfig(path: Path, address: str, token: str) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(document))


@asynccontextmanager
async def service() -> AsyncIterator[int]:
    """What the load calls, on a free port of 127.0.0.1."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def jobs(request: web.Request) -> web.Response:
        return web.json_response({"id": "job-1"})

    async def echo(request: web.Request) -> web.WebSocketResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        async for message in websocket:
            await websocket.send_str(message.data)
        return websocket

    app = web.Application()
    app.add_routes([web.get("/hello", hello), web.post("/jobs", jobs), web.get("/echo", echo)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()
