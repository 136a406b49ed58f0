"""Begins and ends the export of traces; the stop itself becomes one."""

import asyncio
import threading
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from app.lifecycle.budget import AT_LEAST, HURRIED, Budget
from app.lifecycle.event import Event
from app.lifecycle.http.exchange import Exchange
from app.lifecycle.http.measured import HttpMetrics
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.kubernetes.identity import Identity
from app.lifecycle.report import Journal, Report
from app.observability import otel, spans

if TYPE_CHECKING:
    from app.observability.exporting import Exporting

log = structlog.get_logger(__name__)

#: The name of this service, and of its distribution.
NAME = "<< cookiecutter.project_slug >>"
#: Most seconds that a stop waits for the collector.
LONGEST_FLUSH = 2.0


class Telemetry:
    """The traces of ``traffic`` and of the tasks; ``metrics`` get exemplars."""

    _exporting: "Exporting | None" = None

    def __init__(self, traffic: Traffic, metrics: HttpMetrics, identity: Identity) -> None:
        """Sends nothing, and imports nothing for it, unless OTEL_* variables name a collector."""
        sampling, ids = spans.Sampling(), None
        if otel.exports():
            from app.observability.exporting import Exporting

            sampling = otel.sampling()
            self._exporting = Exporting(sampling, _resource(identity))
            ids = self._exporting.ids
            metrics.exemplar = _recorded
        traffic.tracing = spans.Tracing(sampling, ids, otel.headers())
        self._sampling = sampling

    async def flush(self, journal: Journal, report: Report, budget: Budget | None) -> None:
        """Send the trace of the stop and what else is queued, in what is left of ``budget``."""
        if self._exporting is None:
            return
        left = budget.left("leftovers") if budget else 0.0
        if self._sampling.share:
            _record_stop(journal, report)
        sent, exporting = Event(), self._exporting

        def send() -> None:
            exporting.shutdown()
            sent.set()

        # A daemon: a thread of a pool would be waited for at exit.
        threading.Thread(target=send, name="flush of traces", daemon=True).start()
        wait = asyncio.create_task(sent.wait(), name="wait for the flush")
        seconds = min(max(left, AT_LEAST), LONGEST_FLUSH)
        await journal.lifecycle.hurried.or_done([wait], seconds, then=HURRIED)
        wait.cancel()
        if not sent.is_set():
            log.warning("traces not sent", reason="the collector did not answer in time")


def _recorded(exchange: Exchange) -> str | None:
    """The trace id of ``exchange``, if its trace is recorded."""
    return exchange.trace.trace_id if exchange.span is not None else None


def _resource(identity: Identity) -> dict[str, str]:
    known = {
        "service.name": NAME,
        "service.version": version(NAME),
        "service.instance.id": identity.uid,
        "k8s.pod.name": identity.pod,
        "k8s.pod.uid": identity.uid,
        "k8s.namespace.name": identity.namespace,
        "k8s.node.name": identity.node,
        "cloud.availability_zone": identity.zone,
    }
    return {key: value for key, value in known.items() if value}


def _record_stop(journal: Journal, report: Report) -> None:
    """A trace of its own, always recorded: there is one in the life of a pod."""
    began = time.time_ns() - int(report.seconds["total"] * 1e9)
    span = spans.always("stop", began)
    for step in journal.steps:
        span.add_event(step.what, timestamp=began + int(step.elapsed * 1e9))
    span.set_attributes(
        {
            "reason": report.reason,
            "decided_by": report.decided_by,
            "exit_code": report.exit_code,
            "requests_served": report.requests_served,
            "requests_refused": report.requests_refused,
            "streams_ended": report.streams_ended,
            "cut": report.cut,
        }
    )
    if report.exit_code:
        spans.mark_failed(span, f"cut off: {', '.join(report.cut)}")
    span.end()
