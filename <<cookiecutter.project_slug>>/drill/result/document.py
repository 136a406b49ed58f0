"""report.json: everything that is known of the rehearsals, with the figures of the requests."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from drill.load.ledger import Kind, Sample
from drill.rehearsal import Rehearsal
from drill.result.analysis import Analysis
from drill.result.case import Case
from drill.result.lanes import Lane, Span
from drill.result.remedies import sentence

BIN_SECONDS = 0.25

Latency = tuple[float, float] | None


def latency(samples: Iterable[Sample]) -> Latency:
    """Return median and 99th percentile of answered requests, in milliseconds."""
    times = sorted(sample.seconds * 1000 for sample in samples if sample.served)
    if not times:
        return None
    median, high = (times[min(int(len(times) * q), len(times) - 1)] for q in (0.5, 0.99))
    return median, high


def around(rehearsal: Rehearsal) -> dict[str, Latency]:
    """Return the latency of new connections before, during and after the disturbance."""
    begin, end = rehearsal.disturbance
    samples = rehearsal.ledger.of(Kind.NEW)
    return {
        "before": latency(s for s in samples if s.began < begin),
        "during": latency(s for s in samples if begin <= s.began < end),
        "after": latency(s for s in samples if s.began >= end),
    }


def binned(samples: Sequence[Sample], end: float) -> list[list[Sample]]:
    """Group samples by the time they were due."""
    bins: list[list[Sample]] = [[] for _ in range(int(end / BIN_SECONDS) + 1)]
    for sample in samples:
        bins[min(int(sample.began / BIN_SECONDS), len(bins) - 1)].append(sample)
    return bins


VERSION = 1

Json = dict[str, Any]


def report(project: str, rehearsals: Sequence[Json]) -> Json:
    return {
        "version": VERSION,
        "project": project,
        "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "passed": all(one["passed"] for one in rehearsals if one["variant"] == "service"),
        "rehearsals": list(rehearsals),
    }


def rehearsal(analysis: Analysis, title: str) -> Json:
    """Times in seconds on the rehearsal's own clock."""
    found = analysis.rehearsal
    local = found.backend == "local"
    document: Json = _rounded(
        {
            "scenario": found.scenario.name,
            "variant": found.plan.variant,
            "backend": found.backend,
            "title": title,
            "passed": analysis.passed,
            "verdict": analysis.verdict,
            "seconds": analysis.end,
            "disturbance": list(found.disturbance),
            "propagation": list(found.plan.propagation) if local else None,
            "late": found.late,
            "budgets": asdict(analysis.view.budgets),
            "pods": [_pod(lane) for lane in analysis.lanes],
            "bins": _bins(analysis),
            "requests": [_requests(analysis, kind) for kind in Kind if not kind.is_stream],
            "jobs": _jobs(analysis),
            "streams": [_streams(analysis, kind) for kind in Kind if kind.is_stream],
            "latency": {name: _latency(times) for name, times in around(found).items()},
            "losses": [_loss(case) for case in analysis.losses],
            "checks": [asdict(check) for check in analysis.checks],
            "faults": list(analysis.faults),
            "skipped": None,
        }
    )
    return document


def _pod(lane: Lane) -> Json:
    pod = lane.pod
    return {
        "name": pod.name,
        "revision": pod.revision,
        "canary": pod.canary,
        "node": pod.node,
        "address": pod.address,
        "phases": [
            {"phase": span.name, "from": span.begin, "to": span.end} for span in lane.phases
        ],
        "endpoint": [
            {"state": span.name, "from": span.begin, "to": span.end} for span in lane.endpoint
        ],
        "seen": _spans(lane.seen),
        "deleted_at": lane.told_at,
        "gone_at": lane.gone_at,
        "grace_ends_at": lane.grace_ends_at,
        "limit_at": lane.limit_at,
        "possible_at": lane.possible_at,
        "exit_code": pod.exit_code if lane.gone_at is not None else None,
        "restarts": pod.restarts,
        "events": [{"at": e.at, "what": e.what, "detail": e.detail} for e in lane.events],
        "stop": lane.report,
    }


def _spans(spans: Iterable[Span] | None) -> list[Json] | None:
    return None if spans is None else [{"from": s.begin, "to": s.end} for s in spans]


def _bins(analysis: Analysis) -> Json:
    samples = analysis.rehearsal.ledger.samples
    requests = [sample for sample in samples if not sample.kind.is_stream]
    bins = binned(requests, analysis.end)
    new = [latency(s for s in each if s.kind is Kind.NEW) for each in bins]
    return {
        "seconds": BIN_SECONDS,
        "from": 0.0,
        "served": [sum(sample.served for sample in each) for each in bins],
        "lost": [sum(bool(sample.lost) for sample in each) for each in bins],
        "p50_ms": [None if times is None else times[0] for times in new],
        "p99_ms": [None if times is None else times[1] for times in new],
    }


def _requests(analysis: Analysis, kind: Kind) -> Json:
    samples = analysis.rehearsal.ledger.of(kind)
    counts = {
        "sent": len(samples),
        "served": sum(sample.served for sample in samples),
        "shed": sum(sample.shed for sample in samples),
        "lost": sum(bool(sample.lost) for sample in samples),
    }
    return {"kind": kind, **counts, **_latency(latency(samples))}


def _jobs(analysis: Analysis) -> Json:
    accepted = len(analysis.rehearsal.ledger.jobs)
    missing = analysis.jobs_missing
    return {"accepted": accepted, "done": accepted - missing, "missing": missing}


def _streams(analysis: Analysis, kind: Kind) -> Json:
    ledger = analysis.rehearsal.ledger
    samples, still_open = ledger.of(kind), ledger.streams_left_open[kind]
    lost = sum(bool(sample.lost) for sample in samples)
    return {
        "kind": kind,
        "opened": len(samples) + still_open,
        "ended": len(samples) - lost,
        "lost": lost,
        "still_open": still_open,
        "messages": ledger.messages[kind],
    }


def _latency(times: Latency) -> Json:
    median, high = times or (None, None)
    return {"p50_ms": median, "p99_ms": high}


def _loss(case: Case) -> Json:
    return {
        "at": case.at,
        "kind": case.sample.kind,
        "pod": case.lane.name if case.lane else "",
        "reason": case.reason,
        "detail": case.lost.detail,
        "excused": case.excused,
        "text": sentence(case),
    }


def _rounded(value: Any) -> Any:
    """Round to milliseconds."""
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return value
