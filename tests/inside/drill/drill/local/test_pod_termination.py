"""How a pod ends, case by case against "Pod Lifecycle" in Kubernetes' documents."""

import asyncio
import signal
from pathlib import Path

import pytest

from drill.local import kubelet
from tests.drill.local.support import (
    OBEDIENT,
    READY,
    RUN,
    STUBBORN,
    UP,
    World,
    deleted,
    eventually,
    exists,
    hook,
    python,
    ready,
    rendered,
    sleeping,
    volume,
)
from tests.drill.support import OK, answering, in_loop, serving


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
