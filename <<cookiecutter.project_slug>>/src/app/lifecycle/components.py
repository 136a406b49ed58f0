"""What the service opens and closes, in the order of its dependencies."""

import asyncio
import graphlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import structlog

from app.lifecycle.budget import HURRIED, clean_up
from app.lifecycle.event import Event
from app.lifecycle.ports import StartError
from app.lifecycle.watchdog import stack_of

log = structlog.get_logger(__name__)


State = Literal["waiting", "starting", "running", "stopping", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Component:
    """Something to open and close: a pool, a client, a consumer.

    ``open`` gets the opened values of ``depends_on``, in that order, and returns an
    async context manager. One task of its own enters and leaves it, so it may hold
    task groups and cancel scopes. Timeouts are seconds.
    """

    name: str
    open: Callable[..., AbstractAsyncContextManager[Any]]
    depends_on: tuple[str, ...] = ()
    start_timeout: float = 10.0
    stop_timeout: float = 5.0


class _Running:
    """A component in its own task: opening, open, or closing."""

    def __init__(self, component: Component, values: list[Any]) -> None:
        self.component = component
        self.opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._live(values), name=f"component {component.name}")

    async def _live(self, values: list[Any]) -> None:
        async with self.component.open(*values) as value:
            self.opened.set_result(value)
            await self.leave.wait()


class Components:
    """A graph of components; ``components["name"]`` is the opened value.

    Raises ValueError for a duplicate name, an unknown dependency or a cycle.
    """

    def __init__(self, components: Iterable[Component] = ()) -> None:
        self._components: dict[str, Component] = {}
        for component in components:
            if component.name in self._components:
                raise ValueError(f"there are two components named {component.name!r}")
            self._components[component.name] = component
        for component in self._components.values():
            for needed in component.depends_on:
                if needed not in self._components:
                    raise ValueError(
                        f"component {component.name!r} depends on {needed!r}, which does not exist"
                    )
        #: The names that each component depends on.
        self.needs = {c.name: set(c.depends_on) for c in self._components.values()}
        try:
            graphlib.TopologicalSorter(self.needs).prepare()
        except graphlib.CycleError as error:
            raise ValueError(f"components form a cycle: {' → '.join(error.args[1])}") from None
        self._running: dict[str, _Running] = {}
        #: Called with a reason when a component ends unexpectedly.
        self.on_death: Callable[[str], object] = log.error
        #: What each component is doing; never started and not going to be: waiting.
        self.states: dict[str, State] = dict.fromkeys(self._components, "waiting")
        #: Seconds that each component took to start, and to stop.
        self.start_seconds: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        #: Components that exceeded their budget or raised while closing.
        self.failed: list[str] = []

    def __getitem__(self, name: str) -> Any:
        return self._running[name].opened.result()

    def opened(self) -> Iterator[tuple[str, Any]]:
        """Names and values of those that are open, or closing; from any thread."""
        for name, running in list(self._running.items()):
            if running.opened.done() and not running.task.done():
                yield name, running.opened.result()

    async def start(self) -> None:
        """Open all, dependencies first, independent ones concurrently.

        Raises StartError with one sentence if one fails. Call ``stop`` in any case.
        """
        await _walk(self.needs, self._start)

    async def stop(self, budget: float, hurried: Event) -> None:
        """Close all open components, each once its dependents are closed.

        Together they get ``budget`` seconds, divided evenly among the levels of the
        graph, so that a component cannot use up the time of its dependencies. Once
        ``hurried``, a component gets at most HURRIED seconds (``budget.py``).
        """
        end, levels = time.monotonic() + budget, self._levels()
        share = budget / max([1, *levels.values()])
        needed_by: dict[str, set[str]] = {name: set() for name in self.needs}
        for name, needs in self.needs.items():
            for need in needs:
                needed_by[need].add(name)

        async def stop(name: str) -> None:
            if name in self._running:
                await self._stop(name, end - share * (levels[name] - 1), hurried)

        await _walk(needed_by, stop)

    def _levels(self) -> dict[str, int]:
        """For each component, how many open ones close one after the other from it on."""
        levels: dict[str, int] = {}
        for name in graphlib.TopologicalSorter(self.needs).static_order():
            below = max((levels[needed] for needed in self.needs[name]), default=0)
            levels[name] = below + (name in self._running)
        return levels

    async def _start(self, name: str) -> None:
        component = self._components[name]
        values = [self[needed] for needed in component.depends_on]
        running = _Running(component, values)
        self._running[name] = running
        self.states[name] = "starting"
        began = time.monotonic()
        try:
            async with asyncio.timeout(component.start_timeout):
                await asyncio.wait(
                    {running.task, running.opened}, return_when=asyncio.FIRST_COMPLETED
                )
        except TimeoutError:
            self.states[name] = "failed"
            raise StartError(
                f"component {name!r} did not open within its {component.start_timeout:g} s"
            ) from None
        if not running.opened.done():
            self.states[name] = "failed"
            task = self._running.pop(name).task
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            log.error("component failed to open", component=name, exc_info=error)
            raise StartError(f"component {name!r} failed to open: {type(error).__name__}: {error}")
        running.task.add_done_callback(partial(self._ended, running))
        self.states[name] = "running"
        self.start_seconds[name] = elapsed = round(time.monotonic() - began, 3)
        log.info("component open", component=name, elapsed=elapsed)

    def _ended(self, running: _Running, _task: "asyncio.Task[None]") -> None:
        if not running.leave.is_set():
            self.states[running.component.name] = "failed"
            self.on_death(f"component {running.component.name} ended unexpectedly")

    async def _stop(self, name: str, deadline: float, hurried: Event) -> None:
        running = self._running.pop(name)
        self.states[name] = "stopping"
        began = time.monotonic()
        left = max(0.0, deadline - began)
        budget = min(running.component.stop_timeout, max(0.0, left - clean_up(left)))
        if running.opened.done():
            running.leave.set()
        else:  # the start was abandoned
            running.task.cancel("the service stops before this component opened")
        await hurried.or_done({running.task}, budget, then=HURRIED)
        if not running.task.done():
            self.failed.append(name)
            where = "; ".join(stack_of(running.task))
            log.error(
                "component exceeded its budget",
                component=name,
                budget=round(budget, 3),
                where=where,
            )
            running.task.cancel(f"its {budget:.1f} s to close ran out")
            await asyncio.wait({running.task}, timeout=clean_up(left))
        elif not running.task.cancelled() and (error := running.task.exception()):
            self.failed.append(name)
            log.error("component failed to close", component=name, exc_info=error)
        self.states[name] = "failed" if name in self.failed else "stopped"
        self.seconds[name] = round(time.monotonic() - began, 3)


async def _walk(needs: Mapping[str, set[str]], visit: Callable[[str], Awaitable[None]]) -> None:
    """Visit every name after those that it needs, concurrently where possible."""
    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    visits: dict[asyncio.Future[None], str] = {}
    try:
        while sorter.is_active():
            for name in sorter.get_ready():
                visits[asyncio.ensure_future(visit(name))] = name
            done, _ = await asyncio.wait(visits, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                name = visits.pop(finished)
                finished.result()
                sorter.done(name)
    finally:
        for unfinished in visits:
            unfinished.cancel()
        if visits:
            await asyncio.wait(visits)
