"""Probes, case by case against "Configure Liveness, Readiness and Startup Probes"."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drill.chart import Action, Probe
from drill.local import probes
from drill.local.containers import Container
from drill.local.machine import Processes
from drill.local.probes import Prober, Ticks, succeeds
from tests.drill.local.support import EXIT_0, EXIT_1, eventually, record_in, rendered
from tests.drill.support import in_loop, serving

ANY = Action(tcp=1)
QUICK = {"periodSeconds": 0.03, "timeoutSeconds": 1}


class Asked:
    """A pod that only notes what it is told, and a server that answers as a test wants."""

    def __init__(self) -> None:
        self.said: list[object] = []
        self.asked: Counter[str] = Counter()
        self.status: dict[str, int] = {}
        self.location = ""
        self.missed_probes = 0

    def set_ready(self, ready: bool) -> None:
        self.said.append(ready)

    def probed_ready(self, began: float) -> None:
        pass

    def missed(self) -> None:
        self.missed_probes += 1

    def fail(self, name: str, probe: Probe) -> None:
        self.said.append(name)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        self.asked[path] += 1
        status = self.status.get(path, 200)
        location = f"Location: {self.location}\r\n" if 300 <= status < 400 else ""
        writer.write(f"HTTP/1.1 {status} -\r\n{location}Content-Length: 0\r\n\r\n".encode())
        await writer.drain()


@asynccontextmanager
async def container(folder: Path, **manifest: Any) -> AsyncIterator[tuple[Container, Asked]]:
    asked = Asked()
    async with Processes() as processes, serving(asked.answer) as port:
        manifest["ports"] = [{"name": "http", "containerPort": port}]
        yield (
            Container(rendered(**manifest), record_in(folder), folder / "v", processes, {}),
            asked,
        )


async def probing(
    folder: Path, act: Callable[[Asked, Prober], Any], status: dict[str, int], **manifest: Any
) -> Asked:
    """Probes a container that has started while ``act`` happens."""
    async with container(folder, **manifest) as (one, asked):
        asked.status = status
        prober = Prober(one, asked)
        task = asyncio.create_task(prober.run())
        await act(asked, prober)
        task.cancel()
        await asyncio.wait((task,))
    return asked


def http(path: str, **numbers: float) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, **QUICK, **numbers}


async def attempt(folder: Path, handler: dict[str, Any], status: int = 200) -> bool:
    async with container(folder) as (one, asked):
        asked.status["/p"] = status
        probe = Probe.read({"livenessProbe": {**handler, "timeoutSeconds": 5}}, "liveness")
        assert probe is not None
        return await succeeds(probe, one)


@pytest.mark.parametrize(
    ("status", "well"), [(200, True), (204, True), (399, True), (400, False), (503, False)]
)
def test_any_code_from_200_to_399_is_success(tmp_path: Path, status: int, well: bool) -> None:
    async def check() -> None:
        assert await attempt(tmp_path, http("/p"), status) is well

    in_loop(check())


@pytest.mark.parametrize(
    ("location", "status", "well"),
    [
        ("/there", 200, True),
        ("/there", 500, False),
        ("http://127.0.0.2:1/", 500, True),
        ("/p", 500, False),
    ],
    ids=["followed", "followed to a failure", "not followed to another host", "not for ever"],
)
def test_redirects(tmp_path: Path, location: str, status: int, well: bool) -> None:
    async def check() -> None:
        async with container(tmp_path) as (one, asked):
            asked.status, asked.location = {"/p": 302, "/there": status}, location
            probe = Probe.read({"livenessProbe": http("/p", timeoutSeconds=5)}, "liveness")
            assert probe is not None
            assert await succeeds(probe, one) is well

    in_loop(check())


@pytest.mark.parametrize(
    ("handler", "well"),
    [
        (EXIT_0, True),
        (EXIT_1, False),
        ({"exec": {"command": ["there-is-no-such-program"]}}, False),
        ({"tcpSocket": {"port": "http"}}, True),
        ({"tcpSocket": {"port": 1}}, False),
        ({"httpGet": {"port": 1}}, False),
    ],
    ids=["exit 0", "exit 1", "no program", "open port", "closed port", "refused"],
)
def test_handlers(tmp_path: Path, handler: dict[str, Any], well: bool) -> None:
    async def check() -> None:
        assert await attempt(tmp_path, handler) is well

    in_loop(check())


def test_a_probe_without_an_answer_fails_after_its_timeout(tmp_path: Path) -> None:
    async def check() -> None:
        hangs = {"exec": {"command": ["sleep", "60"]}, "timeoutSeconds": 0.1}
        async with container(tmp_path) as (one, _):
            probe = Probe.read({"livenessProbe": hangs}, "liveness")
            assert probe is not None
            began = time.monotonic()
            assert await succeeds(probe, one) is False
            assert 0.1 <= time.monotonic() - began < 5

    in_loop(check())


def test_the_startup_probe_comes_first_and_alone(tmp_path: Path) -> None:
    async def act(asked: Asked, prober: Prober) -> None:
        await eventually(lambda: asked.asked["/startup"] >= 4)
        assert set(asked.asked) == {"/startup"}
        asked.status = {}
        await eventually(lambda: asked.asked["/live"] and asked.asked["/ready"])
        before = asked.asked["/startup"]
        await eventually(lambda: asked.asked["/live"] >= 4)
        assert asked.asked["/startup"] == before

    in_loop_with_all_probes(tmp_path, act, {"/startup": 500}, failureThreshold=1000)


def test_a_startup_probe_that_fails_too_often_has_the_container_restarted(tmp_path: Path) -> None:
    async def act(asked: Asked, prober: Prober) -> None:
        await eventually(lambda: asked.said)
        assert asked.said == ["startup"]
        assert asked.asked == {"/startup": 3}

    in_loop_with_all_probes(tmp_path, act, {"/startup": 500}, failureThreshold=3)


def in_loop_with_all_probes(
    folder: Path,
    act: Callable[[Asked, Prober], Any],
    status: dict[str, int],
    **startup: float,
) -> None:
    async def check() -> None:
        await probing(
            folder,
            act,
            status,
            startupProbe=http("/startup", **startup),
            readinessProbe=http("/ready"),
            livenessProbe=http("/live"),
        )

    in_loop(check())


def test_readiness_begins_as_a_failure_and_liveness_as_a_success(tmp_path: Path) -> None:
    async def act(asked: Asked, prober: Prober) -> None:
        await eventually(lambda: asked.asked["/ready"] >= 2 and asked.asked["/live"] >= 2)
        assert asked.said == []

    async def check() -> None:
        many = {"failureThreshold": 1000}
        await probing(
            tmp_path,
            act,
            {"/ready": 500, "/live": 500},
            readinessProbe=http("/ready", **many),
            livenessProbe=http("/live", **many),
        )

    in_loop(check())


def test_without_a_readiness_probe_a_container_that_has_started_is_ready(tmp_path: Path) -> None:
    async def act(asked: Asked, prober: Prober) -> None:
        await eventually(lambda: asked.asked["/startup"] >= 2)
        assert asked.said == []
        asked.status = {}
        await eventually(lambda: asked.said == [True])

    async def check() -> None:
        probe = http("/startup", failureThreshold=1000)
        await probing(tmp_path, act, {"/startup": 500}, startupProbe=probe)

    in_loop(check())


def test_thresholds_count_results_in_a_row(tmp_path: Path) -> None:
    probe = Probe.read({"readinessProbe": http("/", successThreshold=2)}, "readiness")
    assert probe is not None
    streak = probes.Streak(probe)
    results = [True, True, False, False, True, False, False, False, True, True]
    assert [streak.add(result) for result in results] == [
        *(None, True, None, None, None, None, None, False, None, True)
    ]


def test_while_a_pod_ends_readiness_goes_on_alone(tmp_path: Path) -> None:
    async def act(asked: Asked, prober: Prober) -> None:
        await eventually(lambda: asked.asked["/live"])
        prober.stop_all_but_readiness()
        asked.status = {"/ready": 503, "/live": 500}
        before = asked.asked["/live"]
        await eventually(lambda: asked.said == [*([True] * asked.said.count(True)), False])
        ready = asked.asked["/ready"]
        await eventually(lambda: asked.asked["/ready"] >= ready + 4)
        assert asked.asked["/live"] <= before + 1  # one may have been under way
        assert "liveness" not in asked.said

    async def check() -> None:
        await probing(
            tmp_path,
            act,
            {},
            readinessProbe=http("/ready", failureThreshold=2),
            livenessProbe=http("/live", failureThreshold=1),
        )

    in_loop(check())


def test_liveness_fails_once_and_is_held_until_there_is_a_new_container(tmp_path: Path) -> None:
    async def act(asked: Asked, prober: Prober) -> None:
        await eventually(lambda: asked.said)
        await asyncio.sleep(0.2)
        assert asked.said == ["liveness"]
        assert asked.missed_probes == 2
        assert asked.asked == {"/live": 2}

    async def check() -> None:
        probe = http("/live", failureThreshold=2)
        prober = {"livenessProbe": probe, "readinessProbe": {**EXIT_1, "failureThreshold": 100}}
        await probing(tmp_path, act, {"/live": 500}, **prober)

    in_loop(check())


@pytest.mark.parametrize("chance", [0.0, 0.9])
def test_ticks_come_each_period_from_anywhere_within_the_first(
    monkeypatch: pytest.MonkeyPatch, chance: float
) -> None:
    async def check() -> None:
        monkeypatch.setattr("random.random", lambda: chance)
        probe = Probe(ANY, period=0.6)
        began = time.monotonic()
        ticks = Ticks(probe, began)
        times = []
        for _ in range(3):
            await ticks.next()
            times.append(time.monotonic() - began)
        for number, at in enumerate(times):
            assert 0 <= at - 0.6 * (chance + number) < 0.55

    in_loop(check())


def test_no_probe_is_made_within_the_initial_delay() -> None:
    async def check() -> None:
        probe = Probe(ANY, initial_delay=0.3, period=0.05)
        began = time.monotonic()
        await Ticks(probe, began, at_once=True).next()
        assert time.monotonic() - began >= 0.3

    in_loop(check())


def test_a_container_that_is_not_ready_is_asked_at_once() -> None:
    async def check() -> None:
        began = time.monotonic()
        await Ticks(Probe(ANY, period=60), began, at_once=True).next()
        assert time.monotonic() - began < 5

    in_loop(check())
