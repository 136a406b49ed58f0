"""The result as text for the terminal."""

from collections.abc import Sequence

from drill.load.ledger import Kind
from drill.plan import Plan
from drill.result import document
from drill.result.analysis import Analysis
from drill.result.document import Latency
from drill.result.lanes import Lane
from drill.scenarios import Scenario

Row = tuple[str, ...]


def title(scenario: Scenario, plan: Plan, backend: str) -> str:
    """Return what is rehearsed, in one line."""
    plan = scenario.prepare(plan)
    what = scenario.title.format(**vars(plan))
    least, most = plan.propagation
    span = f"{least:g} s" if least == most else f"{least:g} to {most:g} s"
    late = f", endpoints {span} late" if backend == "local" else ""
    without = "" if plan.variant == "service" else f", without the lifecycle ({plan.variant})"
    return f"{what}, {plan.rate:g} requests a second{late}{without}"


def render(analysis: Analysis) -> str:
    blocks = [_requests(analysis), _streams(analysis), _latency(analysis), _stops(analysis)]
    if analysis.checks:
        rows = [(c.what, c.value, c.bound, "ok" if c.passed else "NO") for c in analysis.checks]
        blocks.append(table([("checked", "found", "allowed", ""), *rows]))
    if analysis.faults:
        blocks.append("Faults:\n" + "\n".join(f"  {fault}" for fault in analysis.faults))
    blocks.append(verdict(analysis))
    return "\n\n".join(filter(None, blocks))


def verdict(analysis: Analysis) -> str:
    """Return the outcome in one line."""
    rehearsal = analysis.rehearsal
    what = title(rehearsal.scenario, rehearsal.plan, rehearsal.backend)
    word = "PASSED" if analysis.passed else "FAILED"
    return f"{word}  {rehearsal.scenario.name}: {analysis.verdict} ({what})"


def _requests(analysis: Analysis) -> str:
    rows: list[Row] = [("requests", "sent", "served", "shed", "lost", "p50", "p99")]
    for kind in Kind:
        samples = analysis.rehearsal.ledger.of(kind)
        if not kind.is_stream and samples:
            shed = sum(sample.shed for sample in samples)
            lost = sum(bool(sample.lost) for sample in samples)
            counts = (len(samples), len(samples) - shed - lost, shed, lost)
            times = _milliseconds(document.latency(samples))
            rows.append((kind, *(f"{count:,}" for count in counts), *times))
    if accepted := len(analysis.rehearsal.ledger.jobs):
        missing = analysis.jobs_missing
        rows.append(
            ("jobs done", f"{accepted:,}", f"{accepted - missing:,}", "", f"{missing:,}", "", "")
        )
    return table(rows)


def _streams(analysis: Analysis) -> str:
    rows: list[Row] = [("streams", "opened", "ended", "lost", "still open", "messages")]
    ledger = analysis.rehearsal.ledger
    for kind in (Kind.SSE, Kind.WEBSOCKET):
        samples, still = ledger.of(kind), ledger.streams_left_open[kind]
        lost = sum(bool(sample.lost) for sample in samples)
        counts = (len(samples) + still, len(samples) - lost, lost, still, ledger.messages[kind])
        if counts[0]:
            rows.append((kind, *(f"{count:,}" for count in counts)))
    return table(rows) if len(rows) > 1 else ""


def _latency(analysis: Analysis) -> str:
    spans = document.around(analysis.rehearsal).items()
    head = ("new connections", "p50", "p99")
    return table([head, *((name, *_milliseconds(times)) for name, times in spans)])


def _stops(analysis: Analysis) -> str:
    """Return each pod's steps in seconds after it was told to stop, and its served requests."""
    stopped = [lane for lane in analysis.lanes if lane.told_at is not None]
    if not stopped:
        return ""
    head = (
        "stops, seconds",
        "draining",
        "stopping",
        "SIGTERM",
        "exit",
        "possible",
        "code",
        "served",
        "drained until",
    )
    return table([head, *(_stop(lane) for lane in stopped)])


def _stop(lane: Lane) -> Row:
    times = (
        lane.draining_at,
        lane.closed_at,
        lane.signalled_at,
        lane.gone_at,
        lane.possible_at,
    )
    cells = ("-" if at is None else f"{max(at - (lane.told_at or 0), 0):.2f}" for at in times)
    served = (lane.report or {}).get("requests_served", "-")
    return (
        lane.name,
        *cells,
        "-" if lane.gone_at is None else str(lane.pod.exit_code),
        str(served),
        lane.decided_by or "-",
    )


def _milliseconds(times: Latency) -> tuple[str, str]:
    return (f"{times[0]:.1f} ms", f"{times[1]:.1f} ms") if times else ("-", "-")


def table(rows: Sequence[Row]) -> str:
    """Align the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
