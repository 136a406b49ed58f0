"""A lane for every pod, from the timeline, the endpoints and the pod's own log."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from drill.rehearsal import Rehearsal
from drill.result.budgets import Budgets
from drill.result.causes import SIGKILLED
from drill.result.endpoints import Span, in_the_api, in_use, spans
from drill.result.lane import Lane
from drill.result.limit import with_limit
from drill.result.logs import Life, PodLog

#: Marks of the timeline, and the phase that each begins.
BEGINS = {"started": "starting", "ready": "ready", "unready": "unready", "exited": "gone"}
#: What may follow a phase of the stop: a pod that drains may be unready, it drains all the same.
AFTER = {"draining": ("stopping", "gone"), "stopping": ("gone",), "gone": ("starting",)}


def build(
    rehearsal: Rehearsal, logs: Mapping[str, PodLog], budgets: Budgets, end: float
) -> list[Lane]:
    """What happened after ``end``, when the drill clears away, is left out."""
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
        killed = gone if gone >= told + grace else None  # the signal itself was not to be seen
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
    """When it stopped listening: by its log, and without one at SIGTERM, as servers do."""
    if "stopping" in life.phases:
        return life.phases["stopping"]
    return killed if speaks else signalled or killed


def _gone(lane: Lane, started: float, told: float | None) -> float | None:
    """The end of the last container, unless the kubelet is about to start it again."""
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
    """Clocks of nodes differ: nothing of a pod's own is later than its end."""
    return at if at is None or end is None else min(at, end)
