"""A lane for every pod: its phases, its endpoint and its stop, from the records and the log."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from drill.load.ledger import Reason, Sample
from drill.record import Change, Endpoint, Event, PodRecord
from drill.rehearsal import Rehearsal
from drill.result.stop import Budgets, Life, PodLog


@dataclass(frozen=True, slots=True)
class Span:
    """``name`` holds from ``begin`` to ``end``."""

    name: str
    begin: float
    end: float

    def holds(self, at: float) -> bool:
        return self.begin <= at < self.end


def spans(marks: Iterable[tuple[float, str]], end: float) -> list[Span]:
    """Return spans from marks: each lasts until the next, the last until ``end``."""
    found: list[Span] = []
    name, begin = "", 0.0
    for at, new in (*marks, (end, "")):
        at = min(at, end)
        if new == name:
            continue
        if name and at > begin:
            found.append(Span(name, begin, at))
        name, begin = new, at
    return found


def in_the_api(changes: Sequence[Change], pod: str, end: float) -> list[Span]:
    """Return the endpoint's states: ready, serving (and terminating), terminating or not ready."""
    return spans(((c.at, _state(c.endpoint)) for c in changes if c.pod == pod), end)


def in_use(changes: Sequence[Change], end: float) -> Mapping[str, list[Span]] | None:
    """Return when clients were sent to each pod; None if it is unknown when they saw changes.

    They are sent to ready pods or, if there are none, to those that serve while
    terminating, as kube-proxy does.
    """
    if any(change.seen_at is None for change in changes):
        return None
    marks: dict[str, list[tuple[float, str]]] = {change.pod: [] for change in changes}
    for at, chosen in _choices(changes):
        for pod, known in marks.items():
            known.append((at, "used" if pod in chosen else ""))
    return {pod: spans(known, end) for pod, known in marks.items()}


def _choices(changes: Sequence[Change]) -> Iterator[tuple[float, set[str]]]:
    known: dict[str, Endpoint] = {}
    for change in sorted(changes, key=lambda change: change.seen_at or 0.0):
        if change.endpoint is None:
            known.pop(change.pod, None)
        else:
            known[change.pod] = change.endpoint
        ready = {pod for pod, endpoint in known.items() if endpoint.ready}
        serving = {pod for pod, endpoint in known.items() if endpoint.serving}
        yield change.seen_at or 0.0, ready or serving


def _state(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return ""
    if endpoint.terminating:
        return "serving" if endpoint.serving else "terminating"
    return "ready" if endpoint.serving else "not ready"


#: Exit codes after a SIGKILL, as a container runtime and as Python report them.
SIGKILLED = (137, -9)


@dataclass(frozen=True)
class Lane:
    """One pod's life as the report shows it.

    Times are on the rehearsal's clock, None if it did not happen or is unknown.
    All times of a stop are None unless the pod was told to stop.
    """

    pod: PodRecord
    events: Sequence[Event]
    #: starting, ready, unready, draining, stopping, and gone until a restart.
    phases: Sequence[Span]
    endpoint: Sequence[Span]
    #: When clients were sent to it; None if unknown.
    seen: Sequence[Span] | None
    #: It was deleted or evicted: the grace period began.
    told_at: float | None = None
    signalled_at: float | None = None
    #: According to its log.
    draining_at: float | None = None
    #: It closed its listener.
    closed_at: float | None = None
    killed_at: float | None = None
    gone_at: float | None = None
    grace_ends_at: float | None = None
    #: The deletion's grace period in seconds, if shorter than the pod's.
    short_grace: float | None = None
    limit_at: float | None = None
    #: The last time at which a client could be sent to it.
    last_request: float | None = None
    #: The earliest exit that loses nothing.
    possible_at: float | None = None
    #: The service's log event ``stopped``, and its time.
    report: dict[str, Any] | None = None
    reported_at: float | None = None

    @property
    def name(self) -> str:
        return self.pod.name

    @property
    def stop_began(self) -> float | None:
        return self.told_at if self.draining_at is None else self.draining_at

    @property
    def cut(self) -> list[str]:
        """The names of what was cut off at the stop."""
        return [str(name) for name in (self.report or {}).get("cut", ())]

    @property
    def decided_by(self) -> str:
        """The rule that ended the drain; empty if the log does not say."""
        return str((self.report or {}).get("decided_by", ""))

    def phase(self, at: float) -> str:
        return next((span.name for span in self.phases if span.holds(at)), "")

    def times(self, what: str) -> list[float]:
        return [event.at for event in self.events if event.what == what]


def with_limit(lane: Lane, samples: Sequence[Sample], budgets: Budgets) -> Lane:
    """Add ``last_request`` and ``possible_at`` to a pod that was told to stop::

        max(E, D, E + J) + U

    E   the last time at which a client could be sent to the pod: if the listener
        closes earlier, someone is refused
    D   the end of the last request that began before E
    J   the time over which streams are told to end, if the pod had any, and not
        before E: clients told earlier could return to the same pod
    U   the clean-up as it was: from closing the listener to the exit
    """
    told = lane.told_at
    if told is None:
        return lane
    own = [sample for sample in samples if sample.pod == lane.name]
    arrival = _last_arrival(lane, told, own)
    lane = replace(lane, last_request=arrival)
    if arrival is None or lane.gone_at is None or lane.closed_at is None or lane.killed_at:
        return lane
    answered = (s.ended for s in own if not s.kind.is_stream and not s.lost and s.began <= arrival)
    spread = (budgets.stream_spread or 0.0) if _had_streams(lane, told, own) else 0.0
    clean_up = lane.gone_at - lane.closed_at
    return replace(
        lane, possible_at=max(arrival, max(answered, default=arrival), arrival + spread) + clean_up
    )


def _last_arrival(lane: Lane, told: float, own: Sequence[Sample]) -> float | None:
    """Return when the last client stopped using the pod; if unknown, its last request."""
    if lane.seen is None:
        reached = [s.began for s in own if not (s.lost and s.lost.reason is Reason.REFUSED)]
        return max(told, *reached) if reached else None
    return max((told, *(span.end for span in lane.seen)))


def _had_streams(lane: Lane, told: float, own: Sequence[Sample]) -> bool:
    if lane.report is not None:
        return bool(lane.report.get("streams_ended"))
    return any(sample.kind.is_stream and sample.ended >= told for sample in own)


#: Events and the phase that each begins.
BEGINS = {"started": "starting", "ready": "ready", "unready": "unready", "exited": "gone"}
#: The phases that may follow a phase of the stop; a draining pod may become unready meanwhile.
AFTER = {"draining": ("stopping", "gone"), "stopping": ("gone",), "gone": ("starting",)}


def build(
    rehearsal: Rehearsal, logs: Mapping[str, PodLog], budgets: Budgets, end: float
) -> list[Lane]:
    """Return a lane for every pod; events after ``end``, during clean-up, are left out."""
    used = in_use(rehearsal.changes, end)
    lanes = []
    for pod in rehearsal.pods:
        events = [e for e in rehearsal.timeline.events if e.pod == pod.name and e.at <= end]
        lane = Lane(
            pod=pod,
            events=events,
            phases=(),
            endpoint=in_the_api(rehearsal.changes, pod.name, end),
            seen=None if used is None else used.get(pod.name, []),
        )
        lane = _with_stop(lane, logs[pod.name], budgets)
        lane = replace(lane, phases=_phases(lane, logs[pod.name], end))
        lanes.append(with_limit(lane, rehearsal.ledger.samples, budgets))
    return lanes


def _with_stop(lane: Lane, log: PodLog, budgets: Budgets) -> Lane:
    starts = lane.times("started")
    told = min((*lane.times("deleted"), *lane.times("evicted")), default=None)
    gone = _gone(lane, starts[-1] if starts else 0.0, told)
    if told is None:
        return replace(lane, gone_at=gone)
    life = log.last(starts[-1] if len(starts) > 1 else None)
    grace = budgets.grace if lane.pod.grace is None else lane.pod.grace
    signalled, killed = (_first(lane.times(what), told) for what in ("SIGTERM", "SIGKILL"))
    if killed is None and gone is not None and lane.pod.exit_code in SIGKILLED:
        killed = gone if gone >= told + grace else None  # the signal itself is not visible
    draining = _no_later(life.phases.get("draining"), gone)
    began = told if draining is None else draining
    return replace(
        lane,
        told_at=told,
        signalled_at=signalled,
        draining_at=draining,
        closed_at=_no_later(_closed(life, log.speaks, signalled, killed), gone),
        killed_at=killed,
        gone_at=gone,
        grace_ends_at=told + grace,
        short_grace=grace if grace < budgets.grace else None,
        limit_at=None if budgets.limit is None else began + budgets.limit,
        report=life.report,
        reported_at=life.reported_at,
    )


def _closed(
    life: Life, speaks: bool, signalled: float | None, killed: float | None
) -> float | None:
    """Return when it closed its listener: by its log, else at SIGTERM, as servers do."""
    if "stopping" in life.phases:
        return life.phases["stopping"]
    return killed if speaks else signalled or killed


def _gone(lane: Lane, started: float, told: float | None) -> float | None:
    """Return the end of the last container, unless it will be restarted."""
    if told is None and not lane.times("gone"):
        return None
    return _first([*lane.times("exited"), *lane.times("gone")], started)


def _phases(lane: Lane, log: PodLog, end: float) -> list[Span]:
    marks = [(e.at, BEGINS[e.what]) for e in lane.events if e.what in BEGINS]
    last = _no_later(end, lane.gone_at) or end
    marks += [
        (min(at, last), phase)
        for life in log.lives
        for phase, at in life.phases.items()
        if phase in ("draining", "stopping")
    ]
    if not log.speaks and lane.told_at is not None:
        marks.append((lane.told_at, "draining"))
        if lane.signalled_at is not None:
            marks.append((lane.signalled_at, "stopping"))
    order = ("starting", "ready", "unready", "draining", "stopping", "gone")
    marks.sort(key=lambda mark: (mark[0], order.index(mark[1])))
    return spans(_allowed(marks), last)


def _allowed(marks: Sequence[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    now = ""
    for at, phase in marks:
        if now not in AFTER or phase in AFTER[now]:
            now = phase
            yield at, phase


def _first(times: Sequence[float], since: float) -> float | None:
    return min((at for at in times if at >= since), default=None)


def _no_later(at: float | None, end: float | None) -> float | None:
    """Limit a pod's time to its end: the nodes' clocks differ."""
    return at if at is None or end is None else min(at, end)
