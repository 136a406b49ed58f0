"""Health checks: they run in the background, never inside a probe."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

log = structlog.get_logger(__name__)


class Unwell(Exception):  # noqa: N818
    """A check raises this to fail with a reason that anybody may read, in ``/readyz`` too."""


@dataclass(slots=True)
class Check:
    """A check passes when ``ask`` returns, and fails when it raises or times out."""

    name: str
    ask: Callable[[], Awaitable[object]]
    period: float
    timeout: float
    gating: bool
    well: bool | None = None
    #: Why it failed: an Unwell's text, else the type of the exception, whose text may hold secrets.
    error: str = ""
    seconds: float = 0.0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    async def run(self) -> None:
        """Run once; log when the result changes."""
        began, was = time.monotonic(), self.well
        try:
            async with asyncio.timeout(self.timeout):
                await self.ask()
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            said, known = self.error, isinstance(error, Unwell)
            self.well, self.error = False, str(error) if known else type(error).__name__
            if was is not False or (known and said != self.error):
                log.warning(
                    "check failed",
                    check=self.name,
                    gating=self.gating,
                    reason=self.error,
                    exc_info=not known,
                )
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
        """Register a check; call it before the service starts.

        ``period`` and ``timeout`` are seconds above 0. A failing ``gating`` check makes
        the pod unready. Do not gate on what all pods share: if a database went down,
        every pod would be taken out, also for requests that need no database. Raises
        ValueError for a name that is taken.
        """
        if name in self._checks:
            raise ValueError(f"there is already a check named {name!r}")
        if period <= 0 or timeout <= 0:
            raise ValueError(f"check {name!r}: period and timeout must be above 0 seconds")
        self._checks[name] = Check(name, ask, period, timeout, gating)

    def failing(self) -> str:
        """Name and error of the first failing gating check; empty if all pass."""
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
