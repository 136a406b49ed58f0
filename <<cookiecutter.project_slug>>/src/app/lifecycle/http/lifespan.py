"""The application's lifespan (ASGI), taken at its word: without it nothing is served."""

import asyncio
from collections.abc import Callable

import structlog
import uvicorn
from uvicorn.lifespan.on import LifespanOn, LifespanSendMessage

log = structlog.get_logger(__name__)


class Lifespan(LifespanOn):
    """uvicorn's end of the protocol, but strict.

    uvicorn takes an error outside of the protocol for an application that does not
    know it, and serves without what the lifespan should have opened. Here an error, or
    a return before ``lifespan.startup.complete``, means that the service cannot start.
    ``on_death`` is called with a reason when the lifespan ends before it is asked to,
    as one does whose task group fails.
    """

    def __init__(self, config: uvicorn.Config, on_death: Callable[[str], object]) -> None:
        super().__init__(config)
        self._on_death = on_death
        self._asked_to_end = False
        #: Whether the application said that its startup is complete.
        self.started = False

    @property
    def failed(self) -> bool:
        """Whether it raised, or said that its shutdown failed."""
        return self.error_occurred or self.shutdown_failed

    async def startup(self) -> None:
        """Ask the application to start; ``should_exit`` is true afterwards if it did not."""
        await super().startup()
        self.should_exit = not self.started

    async def shutdown(self) -> None:
        """Ask the application to end, and wait for it."""
        self._asked_to_end = True
        await super().shutdown()

    async def send(self, message: LifespanSendMessage) -> None:
        await super().send(message)
        self.started = self.started or message["type"] == "lifespan.startup.complete"

    async def main(self) -> None:
        """The application's call, from its start to its end."""
        try:
            await self.config.loaded_app(
                {
                    "type": "lifespan",
                    "asgi": {"version": self.config.asgi_version, "spec_version": "2.0"},
                    "state": self.state,
                },
                self.receive,
                self.send,
            )
        except asyncio.CancelledError:  # by the stop, which names what it cancels
            self.error_occurred = True
        except BaseException as error:
            self.error_occurred = True
            if not (self.startup_failed or self.shutdown_failed):  # whose traceback is logged
                log.error("the application's lifespan failed", exc_info=error)
        else:
            if not self.started:
                log.error("the application ignored its lifespan")
        finally:
            self.startup_event.set()
            self.shutdown_event.set()
        if self.started and not self._asked_to_end:
            self._on_death("the application's lifespan ended by itself")
