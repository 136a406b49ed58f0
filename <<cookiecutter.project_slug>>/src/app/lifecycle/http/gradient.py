"""A limit that follows the latency: as many requests as run without slowing each other down.

The gradient of Netflix's concurrency-limits (``Gradient2Limit``) against the latency of an
unloaded service. That latency is measured anew every minute at the least limit, as Envoy's
adaptive concurrency filter does: a moving average would get used to an overload that lasts.

Pure: the caller passes ``now``, in seconds on a monotonic clock.
"""

import math

#: Seconds and requests that a measurement takes at least.
WINDOW, SAMPLES = 0.1, 10
#: How many times slower than unloaded requests may be before the limit falls (Gradient2's).
TOLERANCE = 1.5
#: The most that the limit may fall in a measurement, and the share of a change that is made
#: at once (both Gradient2's).
STEEPEST, SMOOTHING = 0.5, 0.2
#: Seconds for which the latency of the unloaded service is trusted (Envoy: 60 s), and the
#: most that measuring it may take.
TRUSTED, LONGEST_PROBE = 60.0, 2.0


class Gradient:
    """The limit, between ``least`` and ``most`` requests; starts at ``least``."""

    def __init__(self, least: int, most: int, now: float) -> None:
        self._least = float(least)
        self._most = float(most)
        self._current = self._least
        #: Mean seconds of a request of the unloaded service; infinite until measured.
        self.unloaded = math.inf
        self._measured = -math.inf
        #: When the running measurement of the unloaded service began, if there is one, and
        #: since when no more than ``least`` requests run.
        self._probe: float | None = now
        self._calm = now
        # The current window.
        self._since = now
        self._sum = 0.0
        self._count = self._peak = 0

    @property
    def limit(self) -> int:
        """How many requests may run now."""
        return int(self._least if self._probe is not None else self._current)

    def record(self, seconds: float, in_flight: int, now: float) -> bool:
        """Count a request of ``seconds`` that ended as one of ``in_flight``.

        Returns whether ``limit`` has changed. Streams do not belong here:
        they last as long as their clients like.
        """
        before = self.limit
        if self._probe is not None:
            self._record_probe(self._probe, seconds, in_flight, now)
        else:
            self._add(seconds, in_flight)
            if self._count >= SAMPLES and now - self._since >= WINDOW:
                self._adjust(now)
        return self.limit != before

    def _record_probe(self, probe: float, seconds: float, in_flight: int, now: float) -> None:
        if in_flight >= self._least + 1:  # requests from before the probe
            self._calm = now
        elif now - seconds >= self._calm:
            self._add(seconds, in_flight)
        if self._count >= SAMPLES:
            self._trust(self._sum / self._count, now)
        elif now - probe < LONGEST_PROBE or math.isinf(self.unloaded):
            return
        self._measured = now
        self._probe = None
        self._reset(now)

    def _adjust(self, now: float) -> None:
        """End a window: move the limit along the gradient."""
        mean = self._sum / self._count
        busy = self._peak >= self._current / 2
        stale = now - self._measured > TRUSTED
        if mean < self.unloaded or (stale and not busy):
            self._trust(mean, now)
        elif stale:
            self._probe = self._calm = now
        if busy and self._probe is None:
            gradient = min(1.0, max(STEEPEST, TOLERANCE * self.unloaded / max(mean, 1e-9)))
            # Room to grow, as the queue of Gradient2.
            target = self._current * gradient + math.sqrt(self._current)
            moved = self._current + SMOOTHING * (target - self._current)
            self._current = min(self._most, max(self._least, moved))
        self._reset(now)

    def _trust(self, mean: float, now: float) -> None:
        self.unloaded = mean
        self._measured = now

    def _add(self, seconds: float, in_flight: int) -> None:
        self._sum += seconds
        self._count += 1
        self._peak = max(self._peak, in_flight)

    def _reset(self, now: float) -> None:
        """Begin a window."""
        self._since = now
        self._sum = 0.0
        self._count = self._peak = 0
