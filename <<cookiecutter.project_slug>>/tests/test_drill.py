"""The drill itself: what it sees, what it calls lost, and that it leaves nothing behind."""

import asyncio
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from drill import cluster, pods
from drill.client import Connection, Upload
from drill.cluster import find_places
from drill.endpoints import Endpoint, EndpointTable
from drill.errors import DrillError
from drill.ledger import Kind, Ledger
from drill.load import SHARES, interleave
from drill.loss import Lost, Reason
from drill.pods import Place, Pod, PodTemplate, expand
from drill.processes import Processes
from drill.timeline import Timeline
from drill.traffic import KeptClient, Routes, Traffic

PROJECT = Path(__file__).resolve().parent.parent
DEADLINE = 120.0

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def in_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a test's coroutine; none of them needs more than a few seconds."""

    async def bounded() -> None:
        async with asyncio.timeout(15):
            await coroutine

    asyncio.run(bounded())


# --- the table of endpoints ---------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


A = Endpoint("a", "127.0.0.11", 8080, serving=True)
B = Endpoint("b", "127.0.0.12", 8080, serving=True)


def names(table: EndpointTable) -> list[str]:
    return [endpoint.pod for endpoint in table.seen()]


def test_clients_see_a_change_when_it_has_propagated(clock: Clock) -> None:
    table = EndpointTable(2.0, clock)
    table.publish(A)
    clock.now = 1.9
    assert names(table) == []
    clock.now = 2.0
    assert names(table) == ["a"]


def test_a_pod_that_is_not_ready_gets_no_clients(clock: Clock) -> None:
    table = EndpointTable(0.0, clock)
    table.publish(replace(A, serving=False))
    table.publish(B)
    assert names(table) == ["b"]
    table.publish(A)
    assert names(table) == ["a", "b"]


def test_a_deleted_pod_is_picked_until_the_deletion_has_propagated(clock: Clock) -> None:
    table = EndpointTable(1.0, clock)
    table.publish(A)
    table.publish(B)
    clock.now = 5.0
    table.publish(replace(A, terminating=True))
    clock.now = 5.9
    assert names(table) == ["a", "b"]
    clock.now = 6.0
    assert names(table) == ["b"]


def test_changes_reach_the_clients_in_order_and_together_when_they_look_late(clock: Clock) -> None:
    table = EndpointTable(1.0, clock)
    table.publish(A)
    table.publish(B)
    table.remove("a")
    clock.now = 10.0
    assert names(table) == ["b"]


def test_without_a_ready_pod_clients_get_those_that_still_serve(clock: Clock) -> None:
    table = EndpointTable(0.0, clock)
    table.publish(replace(A, terminating=True))
    table.publish(replace(B, serving=False, terminating=True))
    assert names(table) == ["a"]


def test_the_table_remembers_each_change_once_with_its_times(clock: Clock) -> None:
    table = EndpointTable(2.0, clock)
    table.publish(A)
    table.publish(A)
    clock.now = 3.0
    table.remove("a")
    table.remove("a")
    assert [(c.at, c.seen_at, c.endpoint) for c in table.changes] == [(0, 2, A), (3, 5, None)]


def test_the_table_settles_with_the_last_change_of_who_is_ready(clock: Clock) -> None:
    table = EndpointTable(2.0, clock)
    table.publish(A)
    clock.now = 3.0
    table.publish(replace(A, terminating=True))
    clock.now = 9.0
    table.remove("a")
    assert table.settled_at == 5.0


# --- the HTTP client ----------------------------------------------------------------------


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """A server on a free port whose handler owns the raw streams."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def answering(*answers: bytes, reset: bool = False) -> Handler:
    """Answers each request with the next of ``answers``, then closes, by a reset if asked."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        if reset:
            linger = struct.pack("ii", 1, 0)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    return handle


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def fate(handler: Handler, **options: float) -> str:
    """What the client calls the outcome of one GET."""
    async with serving(handler) as port:
        connection = await Connection.open("127.0.0.1", port, **options)
        try:
            answer = await connection.request("GET", "/")
        except Lost as lost:
            return str(lost)
        finally:
            connection.close()
        return f"{answer.head.status} {answer.body.decode()}"


@pytest.mark.parametrize(
    ("handler", "outcome"),
    [
        pytest.param(answering(OK), "200 ok", id="clean"),
        pytest.param(answering(CHUNKED + b"2\r\nok\r\n0\r\n\r\n"), "200 ok", id="chunked"),
        pytest.param(
            answering(CHUNKED + b"2;x=y\r\nok\r\n0\r\nTrailer: 1\r\n\r\n"), "200 ok", id="trailer"
        ),
        pytest.param(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), "200 ok", id="interim"),
        pytest.param(answering(b"HTTP/1.1 204 No Content\r\n\r\n"), "204 ", id="no body"),
        pytest.param(answering(b"HTTP/1.0 200 OK\r\n\r\nok"), "200 ok", id="until the close"),
        pytest.param(
            answering(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"), "503 ", id="status"
        ),
        pytest.param(answering(b""), Reason.CLOSED, id="closed"),
        pytest.param(answering(b"", reset=True), Reason.RESET, id="reset"),
        pytest.param(answering(b"HTTP/1.1 200"), Reason.TRUNCATED, id="cut in the head"),
        pytest.param(answering(OK[:-1]), Reason.TRUNCATED, id="cut in the body"),
        pytest.param(answering(CHUNKED + b"2\r\nok\r\n"), Reason.TRUNCATED, id="no last chunk"),
        pytest.param(answering(CHUNKED + b"2\r\nok\r\n0\r\n"), Reason.TRUNCATED, id="no last line"),
        pytest.param(answering(b"SSH-2.0\r\n\r\n"), "answered no HTTP 'SSH-2.0'", id="no HTTP"),
        pytest.param(
            answering(CHUNKED + b"zz\r\n"), "answered no HTTP b'zz'", id="malformed chunk"
        ),
    ],
)
def test_the_client_names_every_end(handler: Handler, outcome: str) -> None:
    async def check() -> None:
        assert await fate(handler) == outcome

    in_loop(check())


def test_a_reset_in_the_middle_of_an_answer_has_cut_it_off() -> None:
    async def check() -> None:
        begun = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(CHUNKED + b"2\r\nok\r\n")(reader, writer)
            await begun.wait()
            await answering(reset=True)(reader, writer)

        async with serving(handle) as port:
            connection = await Connection.open("127.0.0.1", port)
            parts = connection.parts(await connection.start("GET", "/"))
            assert await anext(parts) == b"ok"
            begun.set()
            with pytest.raises(Lost, match=Reason.TRUNCATED):
                await anext(parts)
            connection.close()

    in_loop(check())


def test_silence_times_out() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def check() -> None:
        assert await fate(silent, patience=0.05) == Reason.TIMEOUT

    in_loop(check())


def test_nobody_listening_is_a_refusal() -> None:
    async def check() -> None:
        async with serving(answering()) as port:
            pass
        with pytest.raises(Lost) as caught:
            await Connection.open("127.0.0.1", port)
        assert caught.value.reason is Reason.REFUSED

    in_loop(check())


def test_an_upload_stops_when_the_answer_comes_early() -> None:
    async def check() -> None:
        sent = 0

        async def parts() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:  # a part for every turn of the loop, so only the answer ends it
                sent += 1
                yield b"x"
                await asyncio.sleep(0)

        refusal = b"HTTP/1.1 413 X\r\nContent-Length: 0\r\n\r\n"

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(refusal)(reader, writer)
            await reader.read()

        async with serving(handle) as port:
            connection = await Connection.open("127.0.0.1", port)
            answer = await connection.request("POST", "/", Upload(10**9, parts()))
            connection.close()
        assert answer.head.status == 413
        assert sent > 0

    in_loop(check())


@pytest.mark.parametrize("checks", [False, True], ids=["unchecked", "checked"])
def test_a_kept_connection_is_lost_to_a_close_unless_it_is_checked(checks: bool) -> None:
    async def check() -> None:
        closed = asyncio.Event()

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await answering(OK)(reader, writer)
            writer.close()
            await writer.wait_closed()
            closed.set()

        async with serving(once) as port:
            client = KeptClient(traffic_to(port), checks=checks)
            await client.get("/")
            await closed.wait()
            if checks:
                assert (await client.get("/")).head.status == 200
            else:
                with pytest.raises(Lost, match="on a kept connection"):
                    await client.get("/")
            client.close()

    in_loop(check())


def test_a_kept_connection_is_reused_until_the_server_says_close() -> None:
    async def check() -> None:
        connections = 0
        bye = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

        async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal connections
            connections += 1
            await answering(OK, bye)(reader, writer)
            await reader.read()  # stays open: the client must not need the close

        async with serving(twice) as port:
            client = KeptClient(traffic_to(port), checks=False)
            for _ in range(4):
                assert (await client.get("/")).body == b"ok"
            client.close()
        assert connections == 2

    in_loop(check())


def traffic_to(port: int) -> Traffic:
    clock = Clock()
    table = EndpointTable(0.0, clock)
    table.publish(Endpoint("a", "127.0.0.1", port, serving=True))
    return Traffic(table, Ledger(clock), clock, Routes())


# --- small parts --------------------------------------------------------------------------


def test_without_an_endpoint_a_request_is_lost(clock: Clock) -> None:
    traffic = Traffic(EndpointTable(0.0, clock), Ledger(clock), clock, Routes())
    with pytest.raises(Lost, match=Reason.NO_ENDPOINT):
        traffic.pick()


def test_kinds_come_in_their_shares_and_spread() -> None:
    turn = interleave(SHARES)
    assert {kind: turn.count(kind) for kind in SHARES} == SHARES
    new = [at for at, kind in enumerate(turn) if kind is Kind.NEW]
    assert max(b - a for a, b in pairwise(new)) <= 3


def test_a_command_is_expanded_as_kubernetes_does() -> None:
    command = ("serve", "$(HOST):$(PORT)", "$$(HOST)", "$(UNKNOWN)")
    expanded = expand(command, {"HOST": "::1", "PORT": "80"})
    assert expanded == ["serve", "::1:80", "$(HOST)", "$(UNKNOWN)"]


def test_every_pod_gets_a_place_of_its_own() -> None:
    places = find_places(6)
    listeners = {(p.host, port) for p in places for port in (p.port, p.management_port)}
    assert len(listeners) == 12
    assert len({p.host for p in places}) in (1, 6)


def test_with_one_address_every_pod_gets_ports_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    free = cluster.is_free
    monkeypatch.setattr(cluster, "is_free", lambda h, *p: h == "127.0.0.1" and free(h, *p))
    places = find_places(6)
    assert {p.host for p in places} == {"127.0.0.1"}
    assert len({port for p in places for port in (p.port, p.management_port)}) == 12


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_an_answer_that_fails_the_client_is_a_loss(clock: Clock, status: int) -> None:
    with pytest.raises(Lost, match=f"answered {status}"):
        traffic_to(1).expect_success("/hello", status)


def test_a_route_that_is_not_there_is_no_loss_but_a_mistake_of_the_drill() -> None:
    with pytest.raises(DrillError, match="/hello answered 404"):
        traffic_to(1).expect_success("/hello", 404)


# --- a pod's deletion ---------------------------------------------------------------------


STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(600)"
)


async def deleted(folder: Path, script: str, **template: Any) -> tuple[Pod, list[str]]:
    """A pod that runs ``script``, deleted as soon as it has said something; and its events."""
    timeline = Timeline()
    table = EndpointTable(0.0, timeline.now)
    command = (sys.executable, "-c", script)
    pod = Pod(
        "a", Place("127.0.0.1", 1, 2), PodTemplate(command, **template), folder, table, timeline
    )
    async with Processes() as processes, asyncio.TaskGroup() as tasks:
        tasks.create_task(pod.run(processes))
        while not (pod.log.exists() and pod.log.stat().st_size):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await pod.delete(processes)
    assert table.seen() == []
    return pod, [event.what for event in timeline.events]


def test_prestop_has_the_pods_environment_and_ends_before_sigterm(tmp_path: Path) -> None:
    async def check() -> None:
        hook = (sys.executable, "-c", "import os; print(os.environ['APP_PORT'], '$(APP_HOST)')")
        obedient = "import time; print('up', flush=True); time.sleep(600)"
        pod, events = await deleted(tmp_path, obedient, pre_stop=hook)
        assert events == ["started", "deleted", "preStop ended", "SIGTERM", "exited"]
        assert (tmp_path / "a.prestop.log").read_text() == "1 127.0.0.1\n"
        assert (pod.pre_stop_code, pod.exit_code) == (0, -signal.SIGTERM)

    in_loop(check())


def test_what_outlasts_the_grace_period_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "OVERRUN_SECONDS", 0.1)

    async def check() -> None:
        pod, events = await deleted(tmp_path, STUBBORN, grace=0.2)
        assert events == ["started", "deleted", "SIGTERM", "SIGKILL", "exited"]
        assert pod.exit_code == -signal.SIGKILL

    in_loop(check())


def test_a_prestop_that_hangs_is_ended_with_the_grace_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "OVERRUN_SECONDS", 0.1)

    async def check() -> None:
        hook = (sys.executable, "-c", STUBBORN)
        pod, events = await deleted(tmp_path, STUBBORN, grace=0.3, pre_stop=hook)
        assert events == ["started", "deleted", "preStop ended", "SIGTERM", "SIGKILL", "exited"]
        assert pod.pre_stop_code == -signal.SIGKILL

    in_loop(check())


# --- the whole drill ----------------------------------------------------------------------


BROKEN = """
import asyncio
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse

app = FastAPI()

@app.get("/readyz")
@app.get("/hello")
@app.get("/slow")
async def hello(seconds: float = 0) -> str:
    await asyncio.sleep(seconds)
    return "hello"

@app.post("/jobs")
async def jobs() -> dict[str, str]:
    return {"id": "never done"}

@app.get("/events")
async def events() -> StreamingResponse:
    async def ticks():
        while True:
            yield "data: tick\\n\\n"
            await asyncio.sleep(1)
    return StreamingResponse(ticks(), media_type="text/event-stream")

@app.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass
"""


@contextmanager
def drill(*options: str, cwd: Path = PROJECT) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A drill under way, and the folder for its temporary files."""
    folder = tempfile.mkdtemp(prefix="t-")  # short: sockets are made under it
    path = os.pathsep.join(filter(None, (str(PROJECT), os.environ.get("PYTHONPATH"), str(cwd))))
    process = subprocess.Popen(
        [sys.executable, "-m", "drill", *options],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": path, "TMPDIR": folder},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, Path(folder)
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(folder)


def finish(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=DEADLINE)[0]


@pytest.mark.slow
def test_a_rollout_of_this_service_loses_nothing() -> None:
    with drill("--replicas", "2", "--rate", "60", "--propagation", "0.5") as (process, _):
        output = finish(process)
    assert process.returncode == 0, output
    assert re.search(r"^PASSED  0 of [\d,]+ requests and streams lost", output, re.M), output


@pytest.mark.slow
def test_a_service_that_stops_at_once_loses_requests_and_streams(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    serve = (
        f"{sys.executable} -m uvicorn broken:app --host $(APP_HOST) --port $(APP_PORT)"
        " --timeout-graceful-shutdown 1 --log-level warning"
    )
    options = ("--replicas", "2", "--rate", "60", "--propagation", "1")
    with drill(*options, "--command", serve, "--readiness", "main:/readyz", cwd=tmp_path) as (
        process,
        _,
    ):
        output = finish(process)
    assert process.returncode == 1, output
    faults = output[output.index("Faults:") :]
    assert re.search(
        r"new connections: \d+ refused by a1, \d\.\d\d to .* after its deletion", faults
    )
    assert re.search(r"SSE streams: \d+ cut off in the answer by a\d", faults), faults
    assert re.search(r"jobs: \d+ never done, accepted by a1", faults), faults
    assert re.search(r"^FAILED  [1-9]\d* of ", faults, re.M), faults


@pytest.mark.slow
def test_a_service_that_does_not_start_is_no_loss_but_a_failed_drill() -> None:
    with drill("--command", f"{sys.executable} -c 'exit(\"no database\")'") as (process, _):
        output = finish(process)
    assert process.returncode == 2, output
    assert "could not run: pod a1 exited with 1 before it was ready" in output
    assert "no database" in output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_the_drill_ends_no_process_is_left(number: signal.Signals) -> None:
    forever = (
        f"{sys.executable} -c 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'"
    )
    with drill("--command", forever) as (process, folder):
        pids = eventually(lambda: [int(log.read_text()) for log in folder.glob("*/1/a?.log")], 3)
        process.send_signal(number)
        finish(process)
    assert all(eventually(lambda: [not alive(pid) for pid in pids], 3))


def eventually(look: Callable[[], list[Any]], count: int) -> list[Any]:
    """Looks until there are ``count`` true values, and fails at the deadline."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            found = look()
        except ValueError:  # a log without its line yet
            found = []
        if len(found) == count and all(found):
            return found
        time.sleep(0.02)
    raise AssertionError(f"not so within 20 s: {found}")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
