"""How long idle connections stay open: one number that follows the load."""

import structlog

log = structlog.get_logger(__name__)

#: Shares of a limit: from BUSY on, idle connections are closed sooner; up to CALM they are
#: kept longer again. Between the two the number stays, so that it does not go back and forth.
BUSY, CALM = 0.8, 0.6
#: Factors per step: it falls faster than it rises, because clients that were closed return.
FALL, RISE = 0.5, 1.25
#: Weight of the newest share of requests in flight, which is only a glance.
NEWEST = 0.2


class KeepAlive:
    """``seconds`` is between ``least`` and ``most``, and stays at ``most`` without a ``least``.

    Call ``follow`` once a second.
    """

    def __init__(self, least: float | None, most: float) -> None:
        self._least = most if least is None else least
        self._most = most
        self._in_flight = 0.0
        #: The idle time after which a connection is closed, at present.
        self.seconds = most

    def follow(self, connections: float, in_flight: float) -> None:
        """Adapt to the shares of the limits of open connections and of requests in flight."""
        if self._least == self._most:
            return
        self._in_flight += NEWEST * (in_flight - self._in_flight)
        load = max(connections, self._in_flight)
        before = self.seconds
        if load >= BUSY:
            self.seconds = max(self._least, before * FALL)
        elif load <= CALM:
            self.seconds = min(self._most, before * RISE)
        if before == self._most > self.seconds:
            log.warning("busy: idle connections are closed sooner", load=round(load, 2))
        elif before < self._most == self.seconds:
            log.info("calm: idle connections are kept", load=round(load, 2))
