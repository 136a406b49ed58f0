"""Whatever the drill made is taken back; what cannot be is named with a command."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

pytest.importorskip("kubernetes", reason="the package `kubernetes` is not installed")

from drill.cluster.resources import Undo
from drill.errors import DrillError
from tests.drill.cluster.apiserver import Fault
from tests.drill.cluster.standin import Run, Standin


def test_a_drill_that_is_interrupted_leaves_nothing(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        under_load = asyncio.Event()

        async def rehearse() -> None:
            async with standin.open() as cluster:
                await cluster.start_load()
                await cluster.drain(cluster.pods()[0].node)
                under_load.set()
                await asyncio.sleep(600)

        task = asyncio.create_task(rehearse())
        await under_load.wait()
        task.cancel()
        await asyncio.sleep(0.05)
        task.cancel()  # impatience does not leave anything either
        with pytest.raises(asyncio.CancelledError):
            await task
        await standin.empty()
        assert all(node["spec"] == {} for _, node in standin.store.all("nodes"))
        assert any("still cleaning up" in line for line in standin.said)

    on_standin(test)


def test_an_error_in_the_middle_leaves_nothing_and_is_raised(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        with pytest.raises(ZeroDivisionError):
            async with standin.open() as cluster:
                await cluster.start_load()
                raise ZeroDivisionError
        await standin.empty()

    on_standin(test)


def test_what_cannot_be_removed_is_named_with_the_command(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        standin.server.faults.append(Fault("DELETE", "/services/", 403))
        with pytest.raises(DrillError) as caught:
            async with standin.open() as cluster:
                name = cluster.workload.name
        command = f"kubectl --context here --namespace default delete services/{name}"
        assert f"Service {name} was not cleaned up" in str(caught.value)
        assert f"Run `{command}`." in str(caught.value)
        assert standin.left() == {"services"}

    on_standin(test)


def test_beside_another_error_it_is_only_said(on_standin: Run) -> None:
    async def test(standin: Standin) -> None:
        standin.server.faults.append(Fault("DELETE", "/services/", 403))
        with pytest.raises(ZeroDivisionError):
            async with standin.open():
                raise ZeroDivisionError
        assert any("delete services/" in line for line in standin.said)

    on_standin(test)


def test_a_namespace_that_was_made_is_removed_and_one_that_was_there_is_not(
    on_standin: Run,
) -> None:
    async def test(standin: Standin) -> None:
        made = "/api/v1/namespaces/made"
        async with standin.backend("made").open(standin.plan()):
            assert made in standin.store.objects
        assert made not in standin.store.objects
        assert "/api/v1/namespaces/default" in standin.store.objects

    on_standin(test)


def test_steps_are_made_last_first_and_all_of_them() -> None:
    done: list[str] = []

    async def test() -> None:
        undo = Undo(done.append)
        for name in ("first", "second", "third"):
            undo.add(name, f"undo {name}", act(name))
        await undo.run()

    def act(name: str) -> Callable[[], Awaitable[None]]:
        async def make() -> None:
            done.append(name)
            if name == "second":
                raise OSError("no")

        return make

    with pytest.raises(DrillError, match=r"^second was not cleaned up, no Run `undo second`.$"):
        asyncio.run(test())
    assert done == ["third", "second", "first"]


def test_when_nothing_helps_the_commands_are_said() -> None:
    said: list[str] = []

    async def test() -> None:
        undo = Undo(said.append)
        undo.add("a pod", "kubectl delete pod a", lambda: asyncio.sleep(600))
        running = asyncio.create_task(undo.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()  # as asyncio.run does when it is left
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(test())
    assert "left in the cluster; kubectl delete pod a" in said
