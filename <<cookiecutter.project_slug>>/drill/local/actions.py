"""What probes and hooks do: exec, httpGet, tcpSocket, sleep (``pkg/probe``, LifecycleHandler)."""

import asyncio
from urllib.parse import urljoin, urlsplit

from drill.chart.workload import Action, Probe
from drill.load.client import CLOSE, Answer, Connection
from drill.load.loss import Lost
from drill.local.containers import Container

MAX_REDIRECTS = 10
#: What a shell says of a command that it cannot find.
NOT_FOUND = 127


async def succeeds(probe: Probe, container: Container) -> bool:
    """Whether a probe's action does, in its time."""
    try:
        async with asyncio.timeout(probe.timeout):
            return await _well(probe.action, container)
    except (Lost, TimeoutError):
        return False


async def run_hook(action: Action, container: Container) -> int:
    """The exit code of a hook; of one that is no program, 0 or 1. Any answer will do."""
    if action.exec is not None:
        return await execute(action.exec, container)
    if action.sleep is not None:
        await asyncio.sleep(action.sleep)
        return 0
    if action.http is None:
        return 1  # tcpSocket is accepted and fails when it is run
    try:
        await _ask(_url(action, container), dict(action.http[2]), patience=float("inf"))
    except Lost:
        return 1
    return 0


async def execute(command: tuple[str, ...], container: Container) -> int:
    """The exit code; cancelling kills it."""
    process = await container.exec(command)
    if process is None:
        return NOT_FOUND
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise


async def _well(action: Action, container: Container) -> bool:
    if action.exec is not None:
        return await execute(action.exec, container) == 0
    if action.tcp is not None:
        (await Connection.open(container.address, container.template.port(action.tcp))).close()
        return True
    assert action.http is not None
    return await _answers_well(_url(action, container), dict(action.http[2]))


async def _answers_well(url: str, headers: dict[str, str]) -> bool:
    """200 to 399 is well. Redirects are followed, but not to another host."""
    host = urlsplit(url).hostname
    for _ in range(MAX_REDIRECTS):
        head = (await _ask(url, headers)).head
        location = head.headers.get("location")
        if not (300 <= head.status < 400 and location):
            return 200 <= head.status < 400
        url = urljoin(url, location)
        if urlsplit(url).hostname != host:
            return True
    return False


async def _ask(url: str, headers: dict[str, str], patience: float | None = None) -> Answer:
    parts = urlsplit(url)
    waits = {} if patience is None else {"patience": patience}
    connection = await Connection.open(parts.hostname or "", parts.port or 80, **waits)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        given = {"User-Agent": "kube-probe/1.36", "Accept": "*/*", **headers}
        return await connection.request("GET", target, headers={**CLOSE, **given})
    finally:
        connection.close()


def _url(action: Action, container: Container) -> str:
    assert action.http is not None
    path, port, _ = action.http
    return f"http://{container.address}:{container.template.port(port)}/{path.lstrip('/')}"
