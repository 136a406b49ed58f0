"""A pod and its kubelet, case by case against "Pod Lifecycle" in Kubernetes' documents."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from drill.errors import DrillError
from drill.local import kubelet
from tests.drill.local.support import (
    EXIT_1,
    OBEDIENT,
    STUBBORN,
    World,
    eventually,
    python,
    rendered,
)
from tests.drill.support import OK, answering, in_loop, serving

#: A readiness probe looks whether this file is there.
READY = "/run/app/ready"
RUN: dict[str, Any] = {"volumeMounts": [{"name": "run", "mountPath": "/run/app"}]}
UP = 'print("up", flush=True)'


def exists(path: str) -> dict[str, Any]:
    return {"exec": {"command": ["test", "-e", path]}, "periodSeconds": 0.05}


def hook(program: str) -> dict[str, Any]:
    return {"lifecycle": {"preStop": {"exec": {"command": python(program)}}}}


def sleeping(seconds: float) -> dict[str, Any]:
    return {"lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}}


async def deleted(folder: Path, program: str, **manifest: Any) -> World:
    """What became of a pod that was deleted when it was up."""
    world = World(folder)
    await world.run(rendered(program, **manifest), lambda world: world.up())
    return world


def volume(world: World, name: str) -> Path:
    return world.folder / "volumes" / "run" / name


async def ready(world: World) -> None:
    """Up, and ready by a probe that looks for a file."""
    await world.up()
    volume(world, "ready").touch()
    await eventually(lambda: world.pod.ready_since)


# Termination of Pods


def test_prestop_ends_before_sigterm_and_has_the_containers_environment(tmp_path: Path) -> None:
    async def check() -> None:
        environment = [{"name": "COLOUR", "value": "green"}]
        world = await deleted(
            tmp_path,
            OBEDIENT,
            **hook("import os, sys; sys.exit(7 * (os.environ['COLOUR'] == 'green'))"),
            env=environment,
        )
        assert world.events == [
            *("started", "ready", "deleted", "preStop ended", "SIGTERM"),
            *("unready", "exited", "gone"),
        ]
        assert (world.record.pre_stop_code, world.record.exit_code) == (7, 0)

    in_loop(check())


def test_what_outlasts_the_grace_period_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet, "LEAST_SECONDS", 0.1)

    async def check() -> None:
        world = await deleted(tmp_path, STUBBORN, grace=0.5)
        assert world.events[2:5] == ["deleted", "SIGTERM", "SIGKILL"]
        assert world.record.exit_code == -signal.SIGKILL
        killed, told = (world.timeline.first(what, "a1") for what in ("SIGKILL", "deleted"))
        assert killed and told and killed - told >= 0.5

    in_loop(check())


def test_the_grace_period_covers_the_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelet, "LEAST_SECONDS", 0.1)

    async def check() -> None:
        sleep = sleeping(1.5)
        world = await deleted(tmp_path, STUBBORN, grace=2.5, **sleep)
        told, term, killed = (
            world.timeline.first(what, "a1") or 0.0 for what in ("deleted", "SIGTERM", "SIGKILL")
        )
        assert term - told >= 1.5
        assert 2.5 <= killed - told < 2.5 + 1.5

    in_loop(check())


def test_a_deletion_may_give_less_than_the_pods_own_grace_period(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        await world.up()
        world.pod.delete(0.3)

    async def check() -> None:
        world = World(tmp_path)
        await world.run(rendered(OBEDIENT, grace=60.0, **sleeping(60)), act)
        assert world.events[2:5] == ["deleted", "preStop ended", "SIGTERM"]
        assert (world.record.grace, world.record.exit_code) == (0.3, 0)

    in_loop(check())


def test_a_hook_that_hangs_is_given_up_and_the_process_gets_a_little_more(tmp_path: Path) -> None:
    async def check() -> None:
        world = await deleted(tmp_path, OBEDIENT, grace=0.3, **hook(STUBBORN))
        assert world.events[2:5] == ["deleted", "preStop ended", "SIGTERM"]
        assert "SIGKILL" not in world.events
        assert (world.record.pre_stop_code, world.record.exit_code) == (137, 0)

    in_loop(check())


def test_after_sigterm_there_are_two_seconds_at_least(tmp_path: Path) -> None:
    async def check() -> None:
        late = "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit(0)))"
        program = OBEDIENT.replace(UP, f"{late}\n{UP}")
        world = await deleted(tmp_path, program, grace=0.1)
        assert world.record.exit_code == 0

    in_loop(check())


def test_a_hook_that_fails_does_not_keep_the_signal_back(tmp_path: Path) -> None:
    async def check() -> None:
        missing = {"lifecycle": {"preStop": {"exec": {"command": ["there-is-no-such-program"]}}}}
        world = await deleted(tmp_path, OBEDIENT, **missing)
        assert (world.record.pre_stop_code, world.record.exit_code) == (127, 0)

    in_loop(check())


def test_an_http_hook_takes_any_answer(tmp_path: Path) -> None:
    async def check() -> None:
        async with serving(answering(OK.replace(b"200 OK", b"500 No"))) as port:
            get = {"lifecycle": {"preStop": {"httpGet": {"path": "/bye", "port": port}}}}
            world = await deleted(tmp_path, OBEDIENT, **get)
        assert world.record.pre_stop_code == 0
        world = await deleted(tmp_path / "again", OBEDIENT, **get)
        assert world.record.pre_stop_code == 1

    (tmp_path / "again").mkdir()
    in_loop(check())


def test_a_container_that_exits_during_its_hook_needs_no_signal(tmp_path: Path) -> None:
    async def check() -> None:
        program = "import time; print('up', flush=True); time.sleep(0.5)"
        world = await deleted(tmp_path, program, **hook("import time; time.sleep(60)"))
        assert "SIGTERM" not in world.events
        assert world.record.exit_code == 0

    in_loop(check())


def test_a_deleted_pod_is_terminating_at_once_and_serves_as_long_as_it_is_ready(
    tmp_path: Path,
) -> None:
    async def act(world: World) -> None:
        await ready(world)
        world.pod.delete()
        endpoint = world.table.current["a1"]
        assert (endpoint.ready, endpoint.serving, endpoint.terminating) == (False, True, True)
        volume(world, "ready").unlink()  # the probe goes on while the pod ends
        await eventually(lambda: not world.table.current["a1"].serving)
        assert "exited" not in world.events

    async def check() -> None:
        world = World(tmp_path)
        sleep = sleeping(3)
        await world.run(rendered(readinessProbe=exists(READY), **RUN, **sleep), act)
        assert world.table.current == {}

    in_loop(check())


def test_a_pod_that_goes_on_saying_ready_is_noted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubelet, "FLIP_SECONDS", 0.2)

    async def check() -> None:
        sleep = sleeping(1)
        world = World(tmp_path)
        await world.run(rendered(readinessProbe=exists(READY), **RUN, **sleep), ready)
        assert world.count("still ready") == 1

    in_loop(check())


def test_liveness_is_not_asked_while_a_pod_ends(tmp_path: Path) -> None:
    async def act(world: World) -> None:
        asked = volume(world, "asked")
        await eventually(asked.exists)
        world.pod.delete()
        await asyncio.sleep(0.3)  # for one that was under way
        before = asked.stat().st_size
        await asyncio.sleep(0.5)
        assert asked.stat().st_size == before
        assert "exited" not in world.events

    async def check() -> None:
        ask = python("import sys; open(sys.argv[1], 'a').write('.')")
        probe = {"exec": {"command": [*ask, "/run/app/asked"]}, "periodSeconds": 0.05}
        world = World(tmp_path)
        await world.run(rendered(livenessProbe=probe, **RUN, **sleeping(1)), act)

    in_loop(check())


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
        assert world.events[:9] == [
            *("started", "ready", "probe failed", "preStop ended", "SIGTERM", "unready", "exited"),
            *("restarting", "started"),
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
