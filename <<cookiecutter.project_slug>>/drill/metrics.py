"""What the metrics of two versions say about each other: the comparison of docs/canary.md."""

import math
import re
from collections import Counter
from collections.abc import Iterable

#: Requests by route, failed or not, and the upper bound of their time in seconds, cumulated.
Figures = Counter[tuple[str, bool, float]]

BUCKET = re.compile(r"^http_server_request_duration_seconds_bucket\{(.+)\} (\d+)$", re.MULTILINE)
#: Values of ``error_type`` that are the service's doing, as in the alerts.
FAILED = re.compile(r"5..|deadline|drain|refused|shed")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def read(texts: Iterable[str]) -> Figures:
    """Return the sum of what pods' ``/metrics`` say."""
    found: Figures = Counter()
    for text in texts:
        for labels, value in BUCKET.findall(text):
            said = dict(LABEL.findall(labels))
            failed = FAILED.fullmatch(said.get("error_type", "")) is not None
            found[said.get("http_route", ""), failed, float(said["le"])] += int(value)
    return found


def requests(figures: Figures, route: str | None = None) -> int:
    """Count the requests, of one route or of all."""
    return sum(n for (r, _, le), n in figures.items() if le == math.inf and route in (r, None))


def failures(figures: Figures) -> int:
    """Count the requests that the service did not serve."""
    return sum(n for (_, failed, le), n in figures.items() if le == math.inf and failed)


def p99(figures: Figures, route: str) -> float:
    """Return the time of 99 % of a route's requests in seconds, as `histogram_quantile` does."""
    counts: Counter[float] = Counter()
    for (r, _, le), n in figures.items():
        counts[le] += n * (r == route)
    rank, below, lower = 0.99 * counts[math.inf], 0, 0.0
    for bound in sorted(counts):
        if counts[bound] >= rank and math.isfinite(bound):
            return lower + (bound - lower) * (rank - below) / max(counts[bound] - below, 1)
        if math.isfinite(bound):
            below, lower = counts[bound], bound
    return lower


#: Fewer failures, or fewer requests of a route, are chance.
LEAST_FAILURES, LEAST_REQUESTS = 3, 100
#: The share of failures may be higher by so many standard deviations.
DEVIATIONS = 3.0
#: The p99 of a route may be so many times that of the stable version, and so many seconds more.
SLOWER, SLOWER_SECONDS = 2.0, 0.5


def worse(canary: Figures, stable: Figures) -> str:
    """Return what is worse in the canary beyond chance, empty if nothing is."""
    n, usual = requests(canary), requests(stable)
    if not n or not usual:
        return ""
    failed, share = failures(canary), failures(stable) / usual
    both = (failed + failures(stable)) / (n + usual)
    deviation = math.sqrt(both * (1 - both) * (1 / n + 1 / usual))
    if failed >= LEAST_FAILURES and failed / n - share > DEVIATIONS * deviation:
        return f"{failed / n:.0%} of its {n} requests fail, {share:.0%} of the stable version's"
    for route in sorted({route for route, _, _ in canary}):
        if min(requests(canary, route), requests(stable, route)) >= LEAST_REQUESTS:
            took, allowed = p99(canary, route), p99(stable, route)
            if took > SLOWER * allowed + SLOWER_SECONDS:
                return f"p99 of {route} is {took:.3g} s, {allowed:.3g} s in the stable version"
    return ""
