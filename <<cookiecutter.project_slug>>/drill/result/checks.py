"""What a scenario demands besides that nothing is lost: each value, its bound and the remedy."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from drill.load.ledger import Kind, Reason, Sample, Slow
from drill.result.case import View
from drill.scenarios import crowds
#% if cookiecutter.database == "postgresql"
from drill.scenarios.canary import FAULTS, PATIENCE_SECONDS, Canary
from drill.scenarios.migration import Migration


#% else
from drill.scenarios.canary import FAULTS, PATIENCE_SECONDS, Canary


#% endif
@dataclass(frozen=True)
class Check:
    """A measured value and what it may be; ``bound`` is text such as "at most 300 ms"."""

    what: str
    value: str
    bound: str
    passed: bool
    remedy: str

    @property
    def fault(self) -> str:
        return f"{self.what} {self.value}, but {self.bound} is allowed: {self.remedy}"


def of(view: View) -> list[Check]:
    """Return the checks of the rehearsal's scenario; most have none."""
    make = CHECKS.get(view.rehearsal.scenario.name)
    return [] if make is None else list(make(view))


#: The served may take so many times as long as before; so many milliseconds after the overload.
SLOWER, SLOWER_AFTER = 3.0, 1.5
#: Of the capacity.
GOODPUT = 0.9
#: Of the requests at five times the capacity 80 % are shed; a queue and a burst take some.
SHED = 0.6
#: Beyond the longest time in the queue: a sweep of the queue, and a busy machine.
AT_ONCE_MS = 150.0


def overload(view: View) -> Iterator[Check]:
    found = view.rehearsal
    begin = found.timeline.first(crowds.OVERLOAD_BEGINS) or 0.0
    end = found.timeline.first(crowds.OVERLOAD_ENDS) or 0.0
    again = end + crowds.RECOVERY_SECONDS
    samples = found.ledger.of(Kind.NEW)
    before = p99(s for s in samples if s.began < begin)
    during = [s for s in samples if begin <= s.began < end]
    after = [s for s in samples if s.began >= again]
    served, shed = [s for s in during if s.served], [s for s in during if s.shed]
    settings = "APP_REQUESTS__MAX_IN_FLIGHT"

    yield most(
        "p99 of the served under overload",
        p99(served),
        SLOWER * before,
        f"lower {settings} or APP_REQUESTS__QUEUE_SECONDS, so that fewer wait",
    )
    share = len(served) / (capacity(view, begin, end) or 1.0)
    yield Check(
        "served under overload",
        f"{share:.0%} of the capacity",
        f"at least {GOODPUT:.0%}",
        share >= GOODPUT,
        "something besides the handlers takes the time: see the CPU of the pods",
    )
    rate = len(shed) / (len(during) or 1)
    yield Check(
        "shed under overload",
        f"{rate:.0%} of the requests",
        f"at least {SHED:.0%}",
        rate >= SHED,
        f"the pods accept more than they can serve: set {settings}",
    )
    yield most(
        "p99 of the answers 503",
        p99(shed),
        1000 * crowds.QUEUE_SECONDS + AT_ONCE_MS,
        "lower APP_REQUESTS__QUEUE_SECONDS, so that clients can turn elsewhere",
    )
    failed = sum(len(lane.times("liveness failed")) for lane in view.lanes.values())
    yield none(
        "failed liveness probes", failed, "liveness must not depend on the load: probe /livez"
    )
    if (limit := view.budgets.limit) is not None:
        drains = [
            lane.closed_at - lane.stop_began
            for lane in view.lanes.values()
            if lane.closed_at is not None and lane.stop_began is not None
        ]
        yield most(
            "drain under overload",
            1000 * max(drains, default=0.0),
            1000 * limit,
            "raise shutdown.limitSeconds above what the slowest request takes",
        )
    yield most(
        f"p99 from {crowds.RECOVERY_SECONDS:g} s after the overload",
        p99(after),
        SLOWER_AFTER * before,
        "a backlog outlives the overload: lower APP_REQUESTS__QUEUE and QUEUE_SECONDS",
    )
    yield none(
        "requests shed after the overload",
        sum(s.shed for s in after),
        "slots are not given back: see what the handlers wait for",
    )


def capacity(view: View, begin: float, end: float) -> float:
    """Return how many requests the pods could serve while clients were sent to them."""
    spans = (span for lane in view.lanes.values() for span in lane.seen or ())
    seconds = sum(max(0.0, min(s.end, end) - max(s.begin, begin)) for s in spans)
    return seconds * crowds.capacity(crowds.wait_of(view.plan))


#: Times the p99 without slow clients, and milliseconds: all pods share this machine's cores.
BESIDE, NOISE_MS = 1.2, 30.0
#: Beyond its limit: the service looks once a second, the client too, and both may be late.
CLOSED_SECONDS = 4.0
#: What ends each kind.
LIMITS = {
    Slow.HEADERS: ("APP_REQUESTS__HEADER_SECONDS", crowds.HEADER_SECONDS),
    Slow.BODY: ("APP_REQUESTS__STALL_SECONDS", crowds.STALL_SECONDS),
    Slow.READER: ("APP_REQUESTS__STALL_SECONDS", crowds.STALL_SECONDS),
}


def slow_clients(view: View) -> Iterator[Check]:
    found = view.rehearsal
    begin = found.timeline.first(crowds.SLOW_CLIENTS) or 0.0
    end = found.timeline.first(crowds.UPDATE) or 0.0
    plain = [s for s in found.ledger.samples if s.kind in (Kind.NEW, Kind.KEPT, Kind.CHECKED)]
    warm = found.disturbance[0]
    before = usual_p99(s for s in plain if warm <= s.began < begin)
    yield most(
        "p99 of a usual second beside slow clients",
        usual_p99(s for s in plain if end - crowds.BESIDE_SECONDS <= s.began < end),
        BESIDE * before + NOISE_MS,
        "they take the event loop's time: see the CPU of the pods",
    )
    for kind, (setting, limit) in LIMITS.items():
        closed, left = found.ledger.slow_closed[kind], found.ledger.slow_left[kind]
        if closed or left:
            yield most(
                f"{kind} ({len(closed):,} closed) stay",
                1000 * max(*closed, *left, 0.0),
                1000 * (limit + CLOSED_SECONDS),
                f"{setting} must end them",
            )


def p99(samples: Iterable[Sample]) -> float:
    """Return the 99th percentile of the answered, in milliseconds; 0 without any."""
    times = sorted(1000 * sample.seconds for sample in samples if not sample.lost)
    return times[min(int(len(times) * 0.99), len(times) - 1)] if times else 0.0


def usual_p99(samples: Iterable[Sample]) -> float:
    """Return the median of the seconds' 99th percentiles: other programs disturb some seconds."""
    seconds: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        seconds[int(sample.began)].append(sample)
    return statistics.median(map(p99, seconds.values())) if seconds else 0.0


def most(what: str, value: float, bound: float, remedy: str) -> Check:
    """Check a time in milliseconds."""
    return Check(what, f"{value:,.0f} ms", f"at most {bound:,.0f} ms", value <= bound, remedy)


def none(what: str, count: int, remedy: str) -> Check:
    return Check(what, f"{count:,}", "none", not count, remedy)


#: Of the count of requests that are divided at random.
DEVIATIONS = 4.0
#: To change the route.
BACK_SECONDS = 5.0


def bounds(sent: int, weight: int) -> tuple[float, float]:
    """Return how many of ``sent`` requests a weight in percent gives to the canary."""
    expected = sent * weight / 100
    noise = DEVIATIONS * math.sqrt(expected * (1 - weight / 100))
    return max(expected - noise, 0.0), expected + noise


def canary(view: View) -> Iterator[Check]:
    """It gets its share, and what it does not serve stays within that."""
    found, scenario = view.rehearsal, view.rehearsal.scenario
    assert isinstance(scenario, Canary)
    there = {pod.name for pod in found.pods if pod.canary}
    requests = [sample for sample in found.ledger.samples if not sample.kind.is_stream]
    own = [sample for sample in requests if sample.pod in there]
    share = 0.0
    for step in scenario.steps:
        sent = sum(step.begin <= sample.began < step.set for sample in requests)
        got = sum(step.begin <= sample.began < step.set for sample in own)
        lowest, highest = bounds(sent, step.weight)
        yield Check(
            f"requests to the canary at {step.weight} %",
            f"{got:,} of {sent:,}",
            f"{lowest:,.0f} to {highest:,.0f}",
            lowest <= got <= highest,
            "the gateway must divide them by the weights of the route",
        )
        share += bounds(sum(step.begin <= s.began < step.end for s in requests), step.weight)[1]
    lost = [sample for sample in requests if sample.lost]
    stable = sum(sample.pod not in there for sample in lost)
    yield none("lost by the stable release", stable, "see its pods' logs")
    if not scenario.seen_at:
        return
    seen, back, bad = scenario.seen_at, scenario.steps[-1].begin, len(lost) - stable
    yield Check(
        "lost by the canary",
        f"{bad:,} of {len(own):,}",
        f"at most {share:,.0f}, its share",
        bad <= share,
        "take it back sooner",
    )
    flying = [sample for sample in own if sample.began < back <= sample.ended]
    cut = sum(s.lost is not None and s.lost.reason is not Reason.STATUS for s in flying)
    yield Check(
        "in flight at the canary when it was taken back",
        f"{len(flying):,}, {cut:,} cut off",
        "none cut off",
        not cut,
        "remove the canary's pods as any others, with their drain",
    )
    yield most(
        "time until its metrics showed the fault",
        1000 * (seen - scenario.steps[0].begin),
        1000 * PATIENCE_SECONDS,
        "raise --rate: few requests prove little",
    )
    yield most(
        "time from then until it got no more requests",
        1000 * (back - seen),
        1000 * (view.plan.propagation[1] + BACK_SECONDS),
        "the gateway is late",
    )


#% if cookiecutter.database == "postgresql"
def migration(view: View) -> Iterator[Check]:
    """Nothing breaks, and each write is in the database once."""
    found = view.rehearsal
    scenario = found.scenario
    assert isinstance(scenario, Migration)
    writes = found.ledger.of(Kind.UPLOAD)
    answered = [one for one in writes if one.lost and one.lost.reason is Reason.STATUS]
    broken = sum(one.began > scenario.changed for one in answered)
    served = sum(one.served for one in writes)
    # Their response was lost: nobody knows whether they are there.
    unknown = sum(one.lost is not None for one in writes) - len(answered)
    yield Check(
        "writes that the migration broke",
        str(broken),
        "0",
        not broken,
        f"pods of this version cannot live with {scenario.sql!r}: expand first, and contract in a "
        "later release (docs/migrations.md)",
    )
    yield Check(
        "rows in the database",
        str(scenario.rows),
        f"{served}, one for each write with 2xx" + (f", or {unknown} more" if unknown else ""),
        served <= scenario.rows <= served + unknown,
        "commit before the response, and make retries idempotent",
    )


#% endif
CHECKS: Mapping[str, Callable[[View], Iterator[Check]]] = {
    crowds.Overload.name: overload,
    crowds.SlowClients.name: slow_clients,
    **dict.fromkeys(("canary", *(f"canary-{fault}" for fault in FAULTS)), canary),
#% if cookiecutter.database == "postgresql"
    Migration.name: migration,
#% endif
}
