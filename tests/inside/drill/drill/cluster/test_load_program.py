"""The load as a program: what is mounted is enough to run it, and what it says is understood."""

import asyncio
import http.server
import importlib.util
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kubernetes", reason="the package `kubernetes` is not installed")

from drill.cluster import load
from drill.cluster.pods import ClusterTimeline
from drill.errors import DrillError
from drill.load.__main__ import Options, Report, reachable
from drill.load.ledger import Kind, Reason
from drill.load.routes import Call, Routes
from tests.drill.cluster.standin import ROUTES

NOBODY = Options("127.0.0.1", 1, 50, 1, ROUTES, linger=0, patience=0)


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """What the Job has: the ConfigMap's files, and of all packages `websockets` alone."""
    items = load.job("x", DEPLOYMENT, "r")["spec"]["template"]["spec"]["volumes"][0]["configMap"]
    data = load.config_map("x", NOBODY)["data"]
    for item in items["items"]:
        path = tmp_path / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data[item["key"]])
    spec = importlib.util.find_spec("websockets")
    assert spec is not None and spec.origin is not None
    (tmp_path / "websockets").symlink_to(Path(spec.origin).parent)
    return tmp_path


DEPLOYMENT: dict[str, Any] = {
    "metadata": {"name": "d"},
    "spec": {
        "selector": {"matchLabels": {"app.kubernetes.io/name": "s"}},
        "template": {"spec": {"containers": [{"name": "app", "image": "s:1"}]}},
    },
}


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-S", "-m", "drill.load", str(folder / load.OPTIONS)],
        cwd="/",
        env={"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        assert line.startswith("{"), line + process.stdout.read()
        yield json.loads(line)


def test_it_runs_in_a_bare_interpreter_and_ends_at_sigterm_with_its_last_line(
    mounted: Path,
) -> None:
    with start(mounted) as process:
        said = []
        for line in lines(process):
            said.append(line)
            if len(said) == 4:
                process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert [line["n"] for line in said] == list(range(len(said)))
    told = [entry for line in said for entry in line["of"]]
    assert told[0]["what"] == "begin"
    assert told[-1]["what"] == "end"
    assert {tuple(e["reason"][:1]) for e in told if e["what"] == "lost"} == {("refused",)}
    assert len(said) < len(told) / 3  # not a line for each request
    timeline = ClusterTimeline(lambda line: None)
    reader = load.Feed(timeline)
    for line in said:
        reader.take(json.dumps(line))
        reader.take(json.dumps(line))  # a line that comes again
    result = reader.result()
    assert len(result.ledger.samples) == len(told) - 2
    first = result.ledger.samples[0]
    assert first.lost is not None
    assert first.lost.reason is Reason.REFUSED


def test_it_begins_when_the_service_leads_somewhere() -> None:
    """A node that hears late of a new release's endpoints refuses until then."""

    async def wait() -> float:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            waiting = asyncio.create_task(reachable("127.0.0.1", port, 20))
            done, _ = await asyncio.wait({waiting}, timeout=0.5)
            assert not done
            listener.listen()
            began = time.monotonic()
            await waiting
            return time.monotonic() - began

    assert asyncio.run(wait()) < 15


def test_a_route_that_is_not_there_is_said_and_fails(mounted: Path) -> None:
    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *arguments: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        routes = Routes(Call("/none"), None, None, None, None, None)
        options = Options("127.0.0.1", server.server_port, 50, 0, routes, linger=0)
        (mounted / load.OPTIONS).write_text(options.dump())
        with start(mounted) as process:
            told = list(lines(process))
        server.shutdown()
    assert process.returncode == 2
    reader = load.Feed(ClusterTimeline(lambda line: None))
    for entry in told:
        reader.take(json.dumps(entry))
    with pytest.raises(
        DrillError, match="ended early: GET /none answered 404: name an existing route"
    ):
        reader.result()


def test_its_options_come_through(mounted: Path) -> None:
    loaded = Options.load((mounted / load.OPTIONS).read_text())
    assert loaded.routes.sent() == ROUTES.sent()
    assert replace(loaded, routes=ROUTES) == NOBODY
    default = Options("::", 80, 1.5, 0, Routes())
    assert Options.load(default.dump()) == default


def test_a_missing_line_is_an_error() -> None:
    reader = load.Feed(ClusterTimeline(lambda line: None))
    reader.take('{"n": 0, "at": 1, "of": [{"at": 1, "what": "begin"}]}')
    with pytest.raises(DrillError, match="lines 1 to 2 of the load's log are missing"):
        reader.take('{"n": 3, "at": 1, "of": [{"at": 1, "what": "end"}]}')


def test_no_line_is_so_long_that_a_container_runtime_splits_it() -> None:
    out = io.StringIO()
    report = Report(out, lambda: 1.0)
    for _ in range(1000):
        report.entry("served", kind=Kind.CHECKED, pod="", began=1234567890.123456)
    report.line("end", late=0.1, messages={}, streams_left_open={})
    said = out.getvalue().splitlines()
    assert max(map(len, said)) < 16_384
    reader = load.Feed(ClusterTimeline(lambda line: None))
    for line in said:
        reader.take(line)
    assert len(reader.result().ledger.samples) == 1000


def test_what_an_interpreter_says_when_it_fails_is_the_reason() -> None:
    reader = load.Feed(ClusterTimeline(lambda line: None))
    reader.take("ModuleNotFoundError: No module named 'websockets'")
    with pytest.raises(DrillError, match="ended early: ModuleNotFoundError"):
        reader.result()


def test_times_of_a_wrong_clock_are_placed_by_the_fastest_line() -> None:
    timeline = ClusterTimeline(lambda line: None)
    now = timeline.now()
    for on_the_way in (0.5, 0.0, 2.0):
        timeline.heard(1000.0 + now - on_the_way)
    assert timeline.of(1000.0 + now) == pytest.approx(now, abs=0.1)
    assert timeline.at("1970-01-01T00:16:50+00:00") == pytest.approx(10, abs=0.1)


def test_kinds_and_counts_survive_the_log() -> None:
    reader = load.Feed(ClusterTimeline(lambda line: None))
    entries: list[dict[str, Any]] = [
        {"what": "begin"},
        {"what": "served", "kind": Kind.NEW, "pod": "", "began": 0.5},
        {"what": "accepted", "job": "7", "pod": ""},
        {"what": "end", "late": 0.1, "messages": {Kind.SSE: 3}, "streams_left_open": {}},
    ]
    stamped = [{"at": 1.0, **entry} for entry in entries]
    for number, of in enumerate((stamped[:1], stamped[1:])):
        reader.take(json.dumps({"n": number, "at": 1.0, "of": of}))
    result = reader.result()
    assert result.late == 0.1
    assert result.ledger.messages == {Kind.SSE: 3}
    assert [sample.kind for sample in result.ledger.samples] == [Kind.NEW]
    assert result.ledger.samples[0].seconds == pytest.approx(0.5)
    assert [found.id for found in result.ledger.jobs] == ["7"]
