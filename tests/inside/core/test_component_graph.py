"""What is refused before anything is opened, and what a component's value is for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from app.lifecycle.components import Component, Components
from app.lifecycle.event import Event
from app.lifecycle.ports import StartError


@contextlib.asynccontextmanager
async def nothing(*needed: object) -> AsyncIterator[tuple[object, ...]]:
    yield needed


def test_a_cycle_is_refused_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"cycle: .*→") as refused:
        Components(
            [
                Component("a", nothing, depends_on=("b",)),
                Component("b", nothing, depends_on=("c",)),
                Component("c", nothing, depends_on=("a",)),
            ]
        )
    path = str(refused.value).rpartition(": ")[2].split(" → ")
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}


def test_one_that_needs_itself_is_a_cycle() -> None:
    with pytest.raises(ValueError, match="cycle: a → a"):
        Components([Component("a", nothing, depends_on=("a",))])


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="'a' depends on 'b', which does not exist"):
        Components([Component("a", nothing, depends_on=("b",))])


def test_a_name_used_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="two components named 'a'"):
        Components([Component("a", nothing), Component("a", nothing)])


def test_each_gets_the_values_of_what_it_needs_in_that_order() -> None:
    async def main() -> object:
        components = Components(
            [
                Component("c", nothing, depends_on=("b", "a")),
                Component("b", nothing, depends_on=("a",)),
                Component("a", nothing),
            ]
        )
        await components.start()
        value = components["c"]
        await components.stop(1, Event())
        assert components.failed == []
        return value

    assert asyncio.run(main()) == (((),), ())


def test_it_is_entered_and_left_in_one_task() -> None:
    """A task group or a cancel scope may live in it."""

    @contextlib.asynccontextmanager
    async def grouped() -> AsyncIterator[asyncio.Task[None]]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(asyncio.sleep(3600))
            yield task
            task.cancel()

    async def main() -> None:
        components = Components([Component("group", grouped)])
        await components.start()
        task: asyncio.Task[None] = components["group"]
        assert not task.done()
        await components.stop(1, Event())
        assert task.cancelled()
        assert components.failed == []

    asyncio.run(main())


def test_an_error_of_open_itself_counts_as_a_failed_start() -> None:
    def broken() -> contextlib.AbstractAsyncContextManager[None]:
        raise KeyError("url")

    async def main() -> None:
        components = Components([Component("pool", broken)])
        with pytest.raises(StartError, match="'pool' failed to open: KeyError"):
            await components.start()
        await components.stop(1, Event())

    asyncio.run(main())
