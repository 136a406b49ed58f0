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

from app.lifecycle.budget import COMPONENTS_REST, HURRIED, clean_up
from app.lifecycle.event import Event
from app.lifecycle.levels import LEVELS, Level, chain, divide, longest
from app.lifecycle.ports import StartError

log = structlog.get_logger(__name__)


State = Literal["waiting", "starting", "running", "stopping", "stopped", "failed"]
#: Most seconds that a component may get to close.
LONGEST = 3600.0
#: Most seconds that one without a budget of its own takes of those that are shared.
SHARED = 5.0


@dataclass(frozen=True, slots=True)
class Component:
    """Something to open and close: a pool, a client, a consumer.

    ``open`` gets the opened values of ``depends_on``, in that order, and returns an
    async context manager. One task of its own enters and leaves it, so it may hold
    task groups and cancel scopes. Timeouts are seconds.

    ``level`` says how long it may take to close: LEVELS has the seconds, from 15 to 60.
    ``stop_timeout``, up to 3600, says it exactly, and wins. After that it is cancelled, a
    moment earlier so that it can clean up. Both make the grace period of the chart longer
    (``make generate``). A component that closes within a second needs neither: it shares
    a part of APP_SHUTDOWN__STOP_SECONDS, and gets at most 5 s of it.

    An opened value with a method ``held`` says what is in the way (see ``stuck``).
    """

    name: str
    open: Callable[..., AbstractAsyncContextManager[Any]]
    depends_on: tuple[str, ...] = ()
    start_timeout: float = 10.0
    stop_timeout: float | None = None
    level: Level | None = None

    @property
    def budget(self) -> float | None:
        """Seconds that it gets to close; None: a share of what the stop has."""
        if self.stop_timeout is None and self.level is not None:
            return LEVELS[self.level]
        return self.stop_timeout


class _Running:
    """A component in its own task: opening, open, or closing."""

    def __init__(self, component: Component, values: list[Any]) -> None:
        self.component = component
        self.opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._live(values), name=f"component {component.name}")
        #: When it began to open, or to close.
        self.since = time.monotonic()

    async def _live(self, values: list[Any]) -> None:
        async with self.component.open(*values) as value:
            self.opened.set_result(value)
            await self.leave.wait()


class Components:
    """A graph of components; ``components["name"]`` is the opened value.

    Raises ValueError for a duplicate name, an unknown dependency or level, a cycle, or a
    ``stop_timeout`` out of range.
    """

    def __init__(self, components: Iterable[Component] = ()) -> None:
        self._components: dict[str, Component] = {}
        for component in components:
            if component.name in self._components:
                raise ValueError(f"there are two components named {component.name!r}")
            _check(component)
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
        #: Seconds that each component has to close; None: a share of what the stop has.
        self.budgets = {c.name: c.budget for c in self._components.values()}
        self.levels = {c.name: c.level for c in self._components.values()}
        self._running: dict[str, _Running] = {}
        #: Called with a reason when a component ends unexpectedly.
        self.on_death: Callable[[str], object] = log.error
        #: Called with the name of a component whose budget is over, before it is cancelled.
        self.on_late: Callable[[str], object] = lambda name: None
        #: What each component is doing; never started and not going to be: waiting.
        self.states: dict[str, State] = dict.fromkeys(self._components, "waiting")
        #: Seconds that each component took to start, and to stop.
        self.start_seconds: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        #: Components that exceeded their budget or raised while closing.
        self.failed: list[str] = []

    def __getitem__(self, name: str) -> Any:
        return self._running[name].opened.result()

    def slowest(self) -> dict[str, float]:
        """The budgets that are needed one after the other, first to close first.

        Their sum is the time that the stop must have for components.
        """
        return chain(self.needs, {name: own or 0.0 for name, own in self.budgets.items()})

    def opened(self) -> Iterator[tuple[str, Any]]:
        """Names and values of those that are open, or closing; from any thread."""
        for name, running in list(self._running.items()):
            if running.opened.done() and not running.task.done():
                yield name, running.opened.result()

    def at_work(self) -> Iterator[tuple[str, float | None, "asyncio.Task[None]"]]:
        """Name, seconds since it began to open or to close, and task; from any thread.

        None for one that is open.
        """
        now = time.monotonic()
        for name, running in list(self._running.items()):
            quiet = self.states[name] == "running" or running.task.done()
            yield name, None if quiet else now - running.since, running.task

    async def start(self) -> None:
        """Open all, dependencies first, independent ones concurrently.

        Raises StartError with one sentence if one fails. Call ``stop`` in any case.
        """
        await _walk(self.needs, self._start)

    async def stop(self, budget: float, hurried: Event) -> None:
        """Close all open components, each once its dependents are closed.

        Together they get ``budget`` seconds, divided along the graph so that a component
        cannot use up the time of its dependencies (see ``levels``). Once ``hurried``, a
        component gets at most HURRIED seconds (``budget.py``).
        """
        end = time.monotonic() + budget
        budgets = {name: own for name, own in self.budgets.items() if name in self._running}
        parts = divide(self.needs, budgets, budget, COMPONENTS_REST)
        until_all = longest(self.needs, parts)
        needed_by: dict[str, set[str]] = {name: set() for name in self.needs}
        for name, needs in self.needs.items():
            for need in needs:
                needed_by[need].add(name)

        async def stop(name: str) -> None:
            if name in self._running:
                deadline = end - (until_all[name] - parts[name])
                await self._stop(name, deadline, hurried)
                del self._running[name]

        await _walk(needed_by, stop)

    async def _start(self, name: str) -> None:
        component = self._components[name]
        values = [self[needed] for needed in component.depends_on]
        running = _Running(component, values)
        self._running[name] = running
        self.states[name] = "starting"
        began = running.since
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
        running = self._running[name]
        self.states[name] = "stopping"
        running.since = began = time.monotonic()
        own = self.budgets[name]
        most = SHARED if own is None else own
        left = max(0.0, min(deadline - began, most))
        budget = max(0.0, left - clean_up(left))
        if running.opened.done():
            running.leave.set()
        else:  # the start was abandoned
            running.task.cancel("the service stops before this component opened")
        await hurried.or_done({running.task}, budget, then=HURRIED)
        if not running.task.done():
            self.failed.append(name)
            log.error("component exceeded its budget", component=name, budget=round(budget, 3))
            self.on_late(name)
            running.task.cancel(f"its {budget:.1f} s to close ran out")
            await asyncio.wait({running.task}, timeout=clean_up(left))
        elif not running.task.cancelled() and (error := running.task.exception()):
            self.failed.append(name)
            log.error("component failed to close", component=name, exc_info=error)
        self.states[name] = "failed" if name in self.failed else "stopped"
        self.seconds[name] = round(time.monotonic() - began, 3)


def _check(component: Component) -> None:
    name, level, timeout = component.name, component.level, component.stop_timeout
    if level is not None and level not in LEVELS:
        raise ValueError(f"component {name!r} has level={level!r}: use one of {', '.join(LEVELS)}")
    if timeout is not None and not 0 <= timeout <= LONGEST:
        raise ValueError(
            f"component {name!r} has stop_timeout={timeout:g}: it must be from 0 to {LONGEST:g}"
        )


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
