"""The SDK of OpenTelemetry: records spans and sends them to a collector in batches.

A collector that is slow or gone costs requests nothing: spans wait in a queue, and the oldest
are dropped when that is full. Imported only where spans are sent: 0.3 s and 8 MiB.
"""

import threading
from collections.abc import Mapping, Sequence

from opentelemetry import trace
from opentelemetry.context import Context, get_value
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes

from app.observability import otel
from app.observability.spans import ALWAYS, NextIds, Sampling


class _Ids(RandomIdGenerator, NextIds, threading.local):
    """Begins a trace with the id that was sampled before, if there is one in this thread."""

    def generate_trace_id(self) -> int:
        given, self.next = self.next, 0
        return given or super().generate_trace_id()


class _Sampler(Sampler):
    """``Sampling`` for the SDK."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        parent = trace.get_current_span(parent_context).get_span_context()
        flags = parent.trace_flags if parent.is_valid else None
        sampled = get_value(ALWAYS, parent_context) or self._sampling.records(flags, trace_id)
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP
        return SamplingResult(decision, attributes if sampled else None, parent.trace_state)

    def get_description(self) -> str:
        return repr(self._sampling)


class Exporting:
    """The provider of this process; the global one, so that any span is sent.

    ``resource`` are attributes of the service, unless OTEL_RESOURCE_ATTRIBUTES says otherwise.
    """

    def __init__(self, sampling: Sampling, resource: Mapping[str, str]) -> None:
        given = otel.pairs(otel.read("OTEL_RESOURCE_ATTRIBUTES"))
        if name := otel.read("OTEL_SERVICE_NAME"):
            given["service.name"] = name
        self.ids = _Ids()
        self._provider = TracerProvider(
            sampler=_Sampler(sampling),
            resource=Resource.create({**resource, **given}),
            # The default would wait for the collector once more at exit.
            shutdown_on_exit=False,
            id_generator=self.ids,
        )
        timeout = float(otel.exporter("TIMEOUT") or otel.TIMEOUT)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=timeout)))
        trace.set_tracer_provider(self._provider)

    def shutdown(self) -> None:
        """Send what is queued. Takes up to 30 s: the SDK ignores shorter limits."""
        self._provider.shutdown()
