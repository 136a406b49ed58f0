"""The verdict of a rehearsal, as text."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from drill.ledger import Job, Kind, Sample
from drill.pods import Pod
from drill.rollout import Rehearsal

MACHINE_LATE_SECONDS = 0.5

Row = tuple[str, ...]


def render(rehearsal: Rehearsal) -> str:
    faults = find_faults(rehearsal)
    blocks = [_requests(rehearsal), _streams(rehearsal), _latency(rehearsal), _stops(rehearsal)]
    if faults:
        blocks.append("Faults:\n" + "\n".join(f"  {fault}" for fault in faults))
    blocks.append(verdict(rehearsal))
    return "\n\n".join(blocks)


def verdict(rehearsal: Rehearsal) -> str:
    """One line that can stand alone."""
    samples, faults = rehearsal.ledger.samples, find_faults(rehearsal)
    lost = sum(1 for sample in samples if sample.lost) + len(_missing_jobs(rehearsal))
    text = f"{lost} of {len(samples):,} requests and streams lost in a {rehearsal.plan}"
    if faults and not lost:
        text += ", but not every stop was clean"
    if rehearsal.late > MACHINE_LATE_SECONDS:
        text += f" (the drill was {rehearsal.late:.1f} s late itself: a lower --rate says more)"
    return ("FAILED  " if faults else "PASSED  ") + text


def find_faults(rehearsal: Rehearsal) -> list[str]:
    """One line for each distinct loss, and for each way in which a stop was not clean."""
    return [*_losses(rehearsal), *_job_losses(rehearsal), *_stop_faults(rehearsal)]


def _losses(rehearsal: Rehearsal) -> Iterator[str]:
    groups: dict[tuple[str, Kind, str], list[float]] = defaultdict(list)
    for sample in rehearsal.ledger.samples:
        if sample.lost:
            groups[sample.pod, sample.kind, str(sample.lost)].append(sample.ended)
    for (pod, kind, how), times in sorted(groups.items()):
        by = f" by {pod}" if pod else ""
        yield f"{kind}: {len(times)} {how}{by}, {_when(rehearsal, pod, times)}"


def _job_losses(rehearsal: Rehearsal) -> Iterator[str]:
    groups: dict[str, list[float]] = defaultdict(list)
    for job in _missing_jobs(rehearsal):
        groups[job.pod].append(job.accepted)
    for pod, times in sorted(groups.items()):
        when = _when(rehearsal, pod, times)
        yield f"{Kind.JOB}: {len(times)} never done, accepted by {pod} {when}"


def _missing_jobs(rehearsal: Rehearsal) -> list[Job]:
    logs = rehearsal.logs
    return [job for job in rehearsal.ledger.jobs if job.id not in logs[job.pod].jobs_done]


def _stop_faults(rehearsal: Rehearsal) -> Iterator[str]:
    pods: dict[str, list[str]] = defaultdict(list)
    for pod in rehearsal.pods:
        for fault in _faults_of_stop(rehearsal, pod):
            pods[fault].append(pod.name)
    for fault, names in pods.items():
        yield f"{', '.join(names)}: {fault}"


def _faults_of_stop(rehearsal: Rehearsal, pod: Pod) -> Iterator[str]:
    first, report = rehearsal.timeline.first, rehearsal.logs[pod.name].report
    if first("deleted", pod.name) is None:
        yield "ended by itself"
    if pod.pre_stop_code:
        yield f"preStop returned {pod.pre_stop_code}"
    if first("SIGKILL", pod.name) is not None:
        yield "killed at the end of the grace period"
    elif pod.exit_code:
        yield f"exited with {pod.exit_code}"
    if report is None:
        yield 'the log does not end with a report of the stop (event "stopped")'
    elif cut := report.get("cut"):
        yield f"cut off at the stop: {', '.join(cut)}"


def _when(rehearsal: Rehearsal, pod: str, times: Sequence[float]) -> str:
    deleted = rehearsal.timeline.first("deleted", pod)
    first, last = min(times), max(times)
    if deleted is None or last < deleted:
        return f"{_span(first, last)} into the rehearsal"
    if first < deleted:
        return f"{deleted - first:.2f} s before to {last - deleted:.2f} s after its deletion"
    return f"{_span(first - deleted, last - deleted)} after its deletion"


def _span(first: float, last: float) -> str:
    return f"{first:.2f} s" if last - first < 0.01 else f"{first:.2f} to {last:.2f} s"


def _requests(rehearsal: Rehearsal) -> str:
    rows: list[Row] = [("requests", "sent", "served", "lost", "p50", "p99")]
    for kind in Kind:
        if not kind.is_stream:
            samples = rehearsal.ledger.of(kind)
            lost = sum(1 for sample in samples if sample.lost)
            served = len(samples) - lost
            rows.append((kind, f"{len(samples):,}", f"{served:,}", str(lost), *_quantiles(samples)))
    accepted, missing = len(rehearsal.ledger.jobs), len(_missing_jobs(rehearsal))
    rows.append(("jobs done", f"{accepted:,}", f"{accepted - missing:,}", str(missing), "", ""))
    return table(rows)


def _streams(rehearsal: Rehearsal) -> str:
    rows: list[Row] = [("streams", "opened", "ended", "lost", "still open", "messages")]
    ledger = rehearsal.ledger
    for kind in (Kind.SSE, Kind.WEBSOCKET):
        samples, still = ledger.of(kind), ledger.streams_left_open[kind]
        lost = sum(1 for sample in samples if sample.lost)
        counts = (len(samples) + still, len(samples) - lost, lost, still, ledger.messages[kind])
        rows.append((kind, *(f"{count:,}" for count in counts)))
    return table(rows)


def _latency(rehearsal: Rehearsal) -> str:
    begin, end = rehearsal.rollout
    samples = rehearsal.ledger.of(Kind.NEW)
    spans = {
        "before": [s for s in samples if s.began < begin],
        "during": [s for s in samples if begin <= s.began < end],
        "after": [s for s in samples if s.began >= end],
    }
    head = ("the rollout", "p50", "p99")
    return table([head, *((name, *_quantiles(span)) for name, span in spans.items())])


def _stops(rehearsal: Rehearsal) -> str:
    """Each pod's steps in seconds after its deletion, and what it served on the way."""
    steps = ("draining", "stopping", "stopped", "SIGTERM", "exit")
    rows: list[Row] = [("stops, seconds", *steps, "code", "served")]
    for pod in rehearsal.pods:
        phases, first = rehearsal.logs[pod.name].phases, rehearsal.timeline.first
        times = (
            *(phases.get(phase) for phase in ("draining", "stopping", "stopped")),
            first("SIGTERM", pod.name),
            first("exited", pod.name),
        )
        deleted = first("deleted", pod.name) or 0.0
        cells = ("-" if at is None else f"{max(at - deleted, 0):.2f}" for at in times)
        served = (rehearsal.logs[pod.name].report or {}).get("requests_served", "-")
        rows.append((pod.name, *cells, str(pod.exit_code), str(served)))
    return table(rows)


def _quantiles(samples: Sequence[Sample]) -> tuple[str, str]:
    times = sorted(sample.seconds for sample in samples if not sample.lost)
    if not times:
        return "-", "-"
    median, high = (times[min(int(len(times) * q), len(times) - 1)] for q in (0.5, 0.99))
    return f"{median * 1000:.1f} ms", f"{high * 1000:.1f} ms"


def table(rows: Sequence[Row]) -> str:
    """Columns as wide as they must be; the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
