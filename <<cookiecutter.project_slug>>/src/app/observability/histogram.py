"""Histograms that cost a request about a microsecond.

The main thread adds to lists; the thread that serves ``/metrics`` copies them. There are no
locks: each step of either side is one operation under the interpreter's lock, so a scrape may
miss the newest observation, but never sees an inconsistent count.
"""

#% if cookiecutter.tracing == "opentelemetry"
import time
#% endif
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Literal

from app.observability.metrics import braced, pairs

#: The most sets of labels of one histogram. Beyond it, new sets share OVERFLOW.
MOST_SERIES = 2000
#: The label of OpenTelemetry's metrics SDK for that.
OVERFLOW = {"otel_metric_overflow": "true"}
#% if cookiecutter.tracing == "opentelemetry"
#: Longest text of an exemplar's value: names and values together may have 128 characters.
LONGEST_EXEMPLAR = 128 - len("trace_id")
#% endif
#: Stand for the labels, inside of braces with ``le`` and as the only ones.
_BEFORE_LE, _ALONE = "\0", "\1"


class Series:
    """The observations of one set of labels; callers on a hot path use the fields directly."""

#% if cookiecutter.tracing == "opentelemetry"
    __slots__ = ("bounds", "counts", "exemplars", "labels", "total")

#% else
    __slots__ = ("bounds", "counts", "labels", "total")

#% endif
    def __init__(self, bounds: Sequence[float], labels: Mapping[str, str]) -> None:
        self.bounds = bounds
        self.labels = labels
        #: How many observations each bucket has, not cumulated; the last is above all bounds.
        self.counts = [0] * (len(bounds) + 1)
#% if cookiecutter.tracing == "opentelemetry"
        #: Trace id, value and Unix time of the last traced observation of a bucket.
        self.exemplars: dict[int, tuple[str, float, float]] = {}
#% endif
        self.total = 0.0

#% if cookiecutter.tracing == "opentelemetry"
    def attach(self, trace_id: str, value: float) -> None:
        """Remember the trace of an observation of ``value``."""
        if len(trace_id) <= LONGEST_EXEMPLAR:
            self.exemplars[bisect_left(self.bounds, value)] = (trace_id, value, time.time())

#% endif
    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histogram:
    """A histogram with the upper ``bounds`` of its buckets, in ascending order."""

    kind: Literal["histogram"] = "histogram"

    def __init__(
        self, name: str, meaning: str, bounds: Sequence[float], *, limit: int = MOST_SERIES
    ) -> None:
        self.name = name
        self.help = meaning
        self._bounds = bounds
        self._limit = limit
        self._series: dict[tuple[tuple[str, str], ...], Series] = {}
        buckets = [*(repr(float(bound)) for bound in bounds), "+Inf"]
        self._frame = "".join(f'{name}_bucket{{{_BEFORE_LE}le="{le}"}} %d\n' for le in buckets)
        self._frame += f"{name}_sum{_ALONE} %r\n{name}_count{_ALONE} %d\n"

    def series(self, labels: Mapping[str, str]) -> Series:
        """The series of ``labels``, or that of OVERFLOW if there are too many."""
        key = tuple(labels.items())
        if key not in self._series and len(self._series) >= self._limit - 1:
            key = tuple(OVERFLOW.items())
        if key not in self._series:
            self._series[key] = Series(self._bounds, dict(key))
        return self._series[key]

    def text(self, openmetrics: bool) -> str:
#% if cookiecutter.tracing == "opentelemetry"
        """The lines of all samples; only OpenMetrics has exemplars."""
        lines = self._with_exemplars if openmetrics else self._lines
        return "".join(map(lines, list(self._series.values())))

    def _with_exemplars(self, series: Series) -> str:
        lines = self._lines(series).split("\n")
        for bucket, (trace_id, value, when) in dict(series.exemplars).items():
            label = braced({"trace_id": trace_id})
            lines[bucket] += f" # {label} {value!r} {when:.3f}"
        return "\n".join(lines)

#% else
        """The lines of all samples."""
        return "".join(map(self._lines, list(self._series.values())))

#% endif
    def _lines(self, series: Series) -> str:
        counts = list(accumulate(series.counts[:]))
        text = self._frame % (*counts, series.total, counts[-1])
        before_le = pairs(series.labels) + "," if series.labels else ""
        return text.replace(_BEFORE_LE, before_le).replace(_ALONE, braced(series.labels))
