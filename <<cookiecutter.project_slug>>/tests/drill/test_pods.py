"""A pod: its command, its place, and its deletion."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from drill import cluster, pods
from drill.cluster import find_places
from drill.endpoints import EndpointTable
from drill.pods import Place, Pod, PodTemplate, expand
from drill.processes import Processes
from drill.timeline import Timeline
from tests.drill.support import in_loop

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(600)"
)


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
