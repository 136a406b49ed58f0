"""A circuit breaker: while the database is away, requests are refused at once.

Without it each request would wait for a connection until its patience ends, and the waiting
ones would fill the service.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextvars import Context

import structlog

from app.database.errors import Unavailable, cause, described

log = structlog.get_logger(__name__)

#: Seconds until the answer to a ``BEGIN``, which takes no lock, is overdue.
OVERDUE = 0.5
#: Seconds that a probe may take, and between the starts of two.
PROBE_SECONDS = 1.0
PROBE_PERIOD = 0.5


class Breaker:
    """Whether the database can be reached.

    It opens when a probe fails, and closes when one succeeds. Probes run only after something
    looked wrong (``suspect``) and while it is open: a dead connection, a pool without a free
    one or a slow statement alone do not prove that the database is away.

    ``probe`` makes a connection of its own and raises if the server does not answer on it.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]]) -> None:
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        #: What waits for a sign of life of the server, since when, and how to give it up.
        self._waiting: dict[object, tuple[float, Callable[[], object]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        #: Why the database cannot be reached; empty while it can.
        self.reason = ""
        self._cause: BaseException | None = None
        self._since = 0.0
        #: How often the database was away, and how many transactions were refused.
        self.outages = self.refused = 0

    def check(self) -> None:
        """Raise Unavailable while the database cannot be reached."""
        if self.reason:
            self.refused += 1
            raise Unavailable("the database cannot be reached") from self._cause

    def suspect(self) -> None:
        """Find out in the background whether the database can be reached."""
        if self._probing is None or self._probing.done():
            # A context of its own: it is not part of the request that noticed something.
            self._probing = asyncio.create_task(
                self._find_out(), name="probe of the database", context=Context()
            )

    def wait(self, key: object, give_up: Callable[[], object]) -> None:
        """``key`` waits for the server; ``give_up`` is called if the breaker opens before
        ``answered``."""
        self._waiting[key] = (time.monotonic(), give_up)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(OVERDUE, self._look)

    def answered(self, key: object) -> None:
        """``key`` waits no longer."""
        self._waiting.pop(key, None)

    def status(self) -> dict[str, object]:
        """The fields of ``/statusz``."""
        return {
            "reachable": not self.reason,
            "unreachable_because": self.reason,
            "unreachable_seconds": round(time.monotonic() - self._since, 3) if self.reason else 0,
            "outages": self.outages,
            "refused": self.refused,
        }

    async def close(self) -> None:
        """End the probes."""
        if self._timer is not None:
            self._timer.cancel()
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing

    def _look(self) -> None:
        """One timer for all that wait, and none while nobody does."""
        self._timer = None
        if not self._waiting:
            return
        oldest = next(iter(self._waiting.values()))[0]
        if time.monotonic() - oldest >= OVERDUE:
            self.suspect()
        self._timer = asyncio.get_running_loop().call_later(OVERDUE, self._look)

    async def _find_out(self) -> None:
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._probe()
            except Exception as error:
                self._open(error)
            else:
                self._close()
                return
            await asyncio.sleep(max(0.0, began + PROBE_PERIOD - time.monotonic()))

    def _open(self, error: Exception) -> None:
        if not self.reason:
            self.outages += 1
            self._since = time.monotonic()
            log.warning("database unreachable", reason=described(error))
        self.reason = described(error)
        self._cause = cause(error).with_traceback(None)  # whose frames would be kept
        for _, give_up in list(self._waiting.values()):
            give_up()

    def _close(self) -> None:
        if self.reason:
            self.reason, self._cause = "", None
            away = round(time.monotonic() - self._since, 3)
            log.info("database reachable", unreachable_seconds=away)
