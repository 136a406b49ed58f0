"""What the drill has to take back in somebody's cluster, however it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from drill.errors import DrillError


@dataclass(frozen=True)
class Step:
    what: str
    #: How a person does it.
    command: str
    act: Callable[[], Awaitable[object]]


class Undo:
    """Steps, carried out in reverse order."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._steps: list[Step] = []
        self._say = say

    def add(self, what: str, command: str, act: Callable[[], Awaitable[object]]) -> Step:
        """Before the thing is made: a call whose answer is lost may have made it."""
        self._steps.append(Step(what, command, act))
        return self._steps[-1]

    def drop(self, step: Step) -> None:
        self._steps.remove(step)

    async def run(self) -> None:
        """All steps, also when some fail and when it is interrupted on the way.

        Raises DrillError that says what is left and how to remove it.
        """
        work = asyncio.create_task(self._all())
        interrupt: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError as error:
                if work.cancelled():
                    raise
                interrupt = error
                self._say("still removing what the drill made in the cluster")
            except DrillError:
                break
        if interrupt is not None and work.exception() is None:
            raise interrupt
        work.result()

    async def _all(self) -> None:
        left: list[str] = []
        while self._steps:
            step = self._steps[-1]
            try:
                await step.act()
            except asyncio.CancelledError:
                self._say("left in the cluster; " + "; ".join(s.command for s in self._steps))
                raise
            except Exception as error:  # whatever it is, the other steps have to be made
                left.append(f"{step.what} is not undone, {error} Run `{step.command}`.")
            self._steps.pop()
        if left:
            raise DrillError(" ".join(left))
