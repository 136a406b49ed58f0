"""Restarts and evictions, case by case against "Pod Lifecycle" in Kubernetes' documents."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drill.errors import DrillError
from drill.local import kubelet
from tests.drill.local.support import (
    EXIT_1,
    OBEDIENT,
    READY,
    RUN,
    UP,
    World,
    eventually,
    exists,
    hook,
    ready,
    rendered,
    sleeping,
    volume,
)
from tests.drill.support import in_loop

# Container restarts


def test_a_container_that_exits_is_started_again_at_once_and_then_after_a_back_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet, "BACK_OFF_SECONDS", 1.0)

    async def check() -> None:
        world = World(tmp_path)
        await world.run(rendered("print('up', flush=True); exit(3)"), lambda w: w.up(times=4))
        exits = [e.at for e in world.timeline.events if e.what == "exited"]
        starts = [e.at for e in world.timeline.events if e.what == "started"]
        waits = [start - end for start, end in zip(starts[1:], exits, strict=False)]
        assert waits[0] < 1
        assert waits[1] >= 1
        assert waits[2] >= 1.0
        assert world.record.restarts == 3
        codes = [e.detail for e in world.timeline.events if e.what == "exited"]
        assert [code[:6] for code in codes[:3]] == ["code 3"] * 3

    in_loop(check())


def test_volumes_stay_over_a_restart_and_end_with_the_pod(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.up()
        volume(world, "kept").touch()
        await world.pod.crash()
        await world.up(times=2)
        assert volume(world, "kept").exists()

    async def check() -> None:
        world = World(tmp_path)
        await world.run(rendered(**RUN), act)
        assert not (tmp_path / "volumes").exists()
        assert world.record.log.exists()

    in_loop(check())


def test_a_crash_takes_the_endpoint_out_until_the_pod_is_ready_again(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await ready(world)
        volume(world, "ready").unlink()
        await world.pod.crash()
        assert not world.table.current["a1"].serving
        await ready(world)
        assert world.table.current["a1"].ready

    async def check() -> None:
        world = World(tmp_path)
        await world.run(rendered(readinessProbe=exists(READY), **RUN), act)
        assert world.events[:6] == [
            "started",
            "ready",
            "SIGKILL",
            "unready",
            "exited",
            "restarting",
        ]
        assert world.record.restarts == 1

    in_loop(check())


def test_failed_liveness_runs_the_hook_and_the_grace_period_before_the_restart(
    tmp_path: Path,
) -> None:
    async def check() -> None:
        probe = {**EXIT_1, "periodSeconds": 0.05, "failureThreshold": 2}
        world = World(tmp_path)
        await world.run(rendered(livenessProbe=probe, **hook("pass")), lambda w: w.up(times=2))
        assert world.events[:11] == [
            *("started", "ready", "liveness failed", "liveness failed", "probe failed"),
            *("preStop ended", "SIGTERM", "unready", "exited", "restarting", "started"),
        ]
        details = [e.detail for e in world.timeline.events if e.what == "restarting"]
        assert details[0] == "its liveness probe failed"

    in_loop(check())


def test_a_probe_can_have_a_grace_period_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet, "LEAST_SECONDS", 0.1)

    stubborn_once = f"""
import pathlib
first = pathlib.Path(sys.argv[1])
if not first.exists():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    first.touch()
{UP}"""

    async def check() -> None:
        failing = {"exec": {"command": ["test", "!", "-e", "/run/app/first"]}}
        probe: dict[str, Any] = {**failing, "periodSeconds": 0.05, "failureThreshold": 1}
        probe["terminationGracePeriodSeconds"] = 0.2
        world = World(tmp_path)
        manifest = rendered(
            OBEDIENT.replace(UP, stubborn_once),
            grace=60,
            args=["/run/app/first"],
            livenessProbe=probe,
            **RUN,
        )
        await world.run(manifest, lambda world: eventually(lambda: world.count("exited")))
        codes = [event.detail for event in world.timeline.events if event.what == "exited"]
        assert codes[0] == "code -9"

    in_loop(check())


def test_a_pod_that_is_deleted_in_its_back_off_is_gone_at_once(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await eventually(lambda: world.count("exited") == 2)
        assert not world.pod.gone.is_set()

    async def check() -> None:
        world = World(tmp_path)
        await world.run(rendered("exit(1)"), act)
        assert world.events[-2:] == ["deleted", "gone"]

    in_loop(check())


# Node-pressure Eviction, Graceful node shutdown


def test_an_evicted_pod_is_not_terminating_and_its_endpoint_follows_its_readiness(
    tmp_path: Path,
) -> None:
    async def act(world: World) -> None:
        await ready(world)
        world.pod.evict()
        await eventually(lambda: world.pod.stopping.is_set())
        assert world.table.current["a1"].ready
        volume(world, "ready").unlink()
        await eventually(lambda: not world.table.current["a1"].serving)
        assert not world.table.current["a1"].terminating
        assert world.pod.active
        await world.pod.gone.wait()

    async def check() -> None:
        world = World(tmp_path)
        sleep = sleeping(1)
        await world.run(rendered(readinessProbe=exists(READY), **RUN, **sleep), act)
        assert "deleted" not in world.events
        assert world.events[2:4] == ["evicted", "unready"]
        assert not world.pod.active
        assert world.table.current == {}

    in_loop(check())


def test_a_program_that_is_not_there_is_a_failure_of_the_drill(tmp_path: Path) -> None:
    async def check() -> None:
        manifest = rendered(command=["there-is-no-such-program"])
        world = World(tmp_path)
        with pytest.raises(ExceptionGroup) as raised:
            await world.run(manifest, lambda w: asyncio.sleep(60))
        assert raised.group_contains(DrillError, match="there-is-no-such-program")

    in_loop(check())
