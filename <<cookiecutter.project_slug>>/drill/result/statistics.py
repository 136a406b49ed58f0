"""Figures of the requests: counts, percentiles, and the course of both over time."""

from collections.abc import Iterable, Sequence

from drill.load.ledger import Kind, Sample
from drill.rehearsal import Rehearsal

BIN_SECONDS = 0.25

Latency = tuple[float, float] | None


def latency(samples: Iterable[Sample]) -> Latency:
    """Median and 99th percentile of what was answered, in milliseconds."""
    times = sorted(sample.seconds * 1000 for sample in samples if not sample.lost)
    if not times:
        return None
    median, high = (times[min(int(len(times) * q), len(times) - 1)] for q in (0.5, 0.99))
    return median, high


def around(rehearsal: Rehearsal) -> dict[str, Latency]:
    """Of new connections, before, during and after what happened."""
    begin, end = rehearsal.disturbance
    samples = rehearsal.ledger.of(Kind.NEW)
    return {
        "before": latency(s for s in samples if s.began < begin),
        "during": latency(s for s in samples if begin <= s.began < end),
        "after": latency(s for s in samples if s.began >= end),
    }


def binned(samples: Sequence[Sample], end: float) -> list[list[Sample]]:
    """By when they were due."""
    bins: list[list[Sample]] = [[] for _ in range(int(end / BIN_SECONDS) + 1)]
    for sample in samples:
        bins[min(int(sample.began / BIN_SECONDS), len(bins) - 1)].append(sample)
    return bins
