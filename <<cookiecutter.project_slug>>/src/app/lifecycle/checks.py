"""Readiness checks: named questions that run in the background, never inside a probe."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Check:
    """A question that is well when it returns and ill when it raises or is too slow."""

    name: str
    ask: Callable[[], Awaitable[object]]
    period: float
    timeout: float
    gating: bool
    well: bool | None = None
    #: Type of the exception of the last round; its text may hold secrets and stays in the log.
    error: str = ""
    seconds: float = 0.0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    async def run(self) -> None:
        """Ask once and keep the answer; a change of it is logged."""
        began, was = time.monotonic(), self.well
        try:
            async with asyncio.timeout(self.timeout):
                await self.ask()
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self.well, self.error = False, type(error).__name__
            if was is not False:
                log.warning("check failed", check=self.name, gating=self.gating, exc_info=True)
        else:
            self.well, self.error = True, ""
            if was is False:
                log.info("check recovered", check=self.name)
        self.seconds = round(time.monotonic() - began, 3)

    async def run_forever(self) -> None:
        while True:
            await self.run()
            await asyncio.sleep(self.period)


class Checks:
    """The checks of this service, by name."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(
        self,
        name: str,
        ask: Callable[[], Awaitable[object]],
        *,
        period: float = 5.0,
        timeout: float = 1.0,
        gating: bool = False,
    ) -> None:
        """Register a check; call before the service starts.

        ``period`` and ``timeout`` are seconds, above 0. A ``gating`` check makes the
        pod unready while it is ill. Leave it off for what all pods share: a database
        that is down would take every pod out at once, and with them the answers that
        need no database. Raises ValueError for a name that is taken.
        """
        if name in self._checks:
            raise ValueError(f"there is a readiness check named {name!r} already")
        if period <= 0 or timeout <= 0:
            raise ValueError(f"check {name!r}: period and timeout are seconds above 0")
        self._checks[name] = Check(name, ask, period, timeout, gating)

    def ill(self) -> str:
        """Name and error of the first gating check that is not well; empty if all are."""
        for check in self._checks.values():
            if check.gating and not check.well:
                return f"check {check.name}: {check.error or 'has not run yet'}"
        return ""

    def results(self) -> dict[str, dict[str, object]]:
        return {
            check.name: {
                "well": check.well,
                "gating": check.gating,
                "error": check.error,
                "seconds": check.seconds,
            }
            for check in self._checks.values()
        }

    def start(self) -> None:
        for check in self._checks.values():
            check.task = asyncio.create_task(check.run_forever(), name=f"check {check.name}")

    def stop(self) -> None:
        for check in self._checks.values():
            if check.task is not None:
                check.task.cancel()
