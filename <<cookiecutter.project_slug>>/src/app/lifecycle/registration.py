"""This pod's entry in the service registry, as far as it is known.

The registrar, a component, reports here. The drain, ``/statusz`` and the metrics read it.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """The entry during a drain; times on the monotonic clock."""

    removed: float = math.inf
    """When the registry confirmed that readers do not get it; infinite before."""
    expires: float = math.inf
    """When the entry counts as removed without that."""
    readers: float = 0.0
    """Seconds after which every reader of the registry has noticed the removal."""

    @property
    def unread(self) -> float:
        """When no reader sends requests here because of the entry."""
        return min(self.removed, self.expires) + self.readers


class Registration:
    """Whether the registry lists this pod; its registrar sets the fields.

    Times are seconds on the monotonic clock. Written in the event loop, read from any thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        #: Where the registry is; empty if none is used.
        self.url = ""
        self.strategy = ""
        self.entry = ""
        #: Seconds after which every reader has noticed a change.
        self.readers = 0.0
        #: Seconds for the removal at a stop, or until a probing registry drops the entry.
        self.budget = 0.0
        #: Seconds after the last heartbeat after which the registry drops the entry; 0: never.
        self.ttl = 0.0
        #: Whether readers get the entry, as far as is known.
        self.listed = False
        #: Whether the registry may know the entry: a call that registers it was sent.
        self.present = False
        #: When readers stopped getting the entry of a pod that is not ready; infinite if they do.
        self.out = math.inf
        #: When a call last worked, and when one last made the entry live for longer.
        self.heard = self.renewed = -math.inf
        self.failures = 0
        #: Why the last call failed; empty if it did not.
        self.missing = ""
        #: Whether a stop has given up the removal.
        self.given_up = False
        #: Called when the entry was removed.
        self.on_change: Callable[[], object] = lambda: None
        self._removed = math.inf
        self._clock = clock

    def listing(self, began: float) -> Listing | None:
        """The entry for a drain that began then; None if there was none."""
        if not self.present and math.isinf(self._removed):
            return None
        expires = began + self.budget
        if self.ttl and math.isfinite(self.renewed):
            expires = max(expires, self.renewed + self.ttl)
        return Listing(min(self._removed, self.out), expires, self.readers)

    def succeed(self) -> None:
        """The registry did what it was asked for."""
        self.heard = self._clock()
        if self.missing:
            log.info("registry works again")
        self.missing = ""

    def fail(self, why: str) -> None:
        """A call failed; log each reason once."""
        self.failures += 1
        if why != self.missing:
            log.warning("registry failed; retrying", why=why)
        self.missing = why

    def give_up(self, why: str) -> None:
        """The registry still lists this pod, which stops."""
        self.given_up, self.missing = True, why
        log.error(
            "not removed from the registry; its readers send requests until the entry expires",
            entry=self.entry,
            why=why,
        )

    def remove(self) -> None:
        """The registry confirmed that it no longer lists this pod, which stops."""
        self.listed = self.present = False
        self._removed = self._clock()
        self.on_change()

    def status(self) -> dict[str, object]:
        """The content of ``/statusz``."""
        if not self.url:
            return {"state": "no registry: APP_REGISTRY__URL is empty"}
        known = math.isfinite(self.heard)
        return {
            "registry": self.url,
            "strategy": self.strategy,
            "entry": self.entry,
            "listed": self.listed,
            "last_success": f"{self._clock() - self.heard:.1f} s ago" if known else "never",
            "failures": self.failures,
            "missing": self.missing,
            "given_up": self.given_up,
        }
