"""What is counted of each request: how long it took, and the sizes of its bodies.

Names, labels and bounds are OpenTelemetry's semantic conventions for HTTP servers.
"""

from bisect import bisect_left
#% if cookiecutter.tracing == "opentelemetry"
from collections.abc import Callable, Sequence

#% else
from collections.abc import Sequence

#% endif
from app.lifecycle.http.exchange import Exchange
from app.lifecycle.http.route import route_of
from app.observability.histogram import MOST_SERIES, Histogram, Series

#: Upper bounds of the buckets, in seconds; those that OpenTelemetry advises.
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
#: In bytes.
SIZES = (100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
#: In seconds, of streams and WebSockets.
STREAMS = (1, 5, 15, 60, 300, 900, 1800, 3600)

#: The methods that OpenTelemetry knows; others are OTHER.
METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
OTHER = "_OTHER"
#: ``error_type`` where the access log has another word.
ERRORS = {"client": "client gone", "stop": "drain"}

Key = tuple[str | None, str, str, tuple[int, str], str]


class HttpMetrics:
    """Counts finished exchanges; ``Traffic`` calls it. At most ``limit`` sets of labels each."""

    def __init__(self, limit: int = MOST_SERIES) -> None:
        self._limit = limit
        self._durations = Histogram(
            "http_server_request_duration_seconds",
            "Time from the headers of a request to the end of its response, without streams.",
            DURATIONS,
            limit=limit,
        )
        self._requests = Histogram(
            "http_server_request_body_size_bytes",
            "Size of the body of a request, as far as the application has read it.",
            SIZES,
            limit=limit,
        )
        self._responses = Histogram(
            "http_server_response_body_size_bytes",
            "Size of the body of a response, before any transfer coding.",
            SIZES,
            limit=limit,
        )
        self._streams = Histogram(
            "app_stream_duration_seconds",
            "Time that streams of events or records and WebSockets were open, once they ended.",
            STREAMS,
            limit=limit,
        )
#% if cookiecutter.tracing == "opentelemetry"
        #: The trace id of an exchange whose trace is recorded; set by ``Telemetry``.
        self.exemplar: Callable[[Exchange], str | None] | None = None
#% endif
        #: The series of what is the same of many requests.
        self._known: dict[Key, tuple[Series, Series, Series]] = {}

    def families(self) -> Sequence[Histogram]:
        return (self._durations, self._requests, self._responses, self._streams)

    def __call__(self, exchange: Exchange, seconds: float) -> None:
        scope = exchange.scope
        route = route_of(scope)
        if exchange.stream:
            self._streams.series({"http_route": route}).observe(seconds)
            return
        if exchange.responded:  # later, only background work was left
            seconds = exchange.responded - exchange.began
        method = scope.get("method")
        key = (method, scope["scheme"], route, exchange.outcome(), exchange.refused)
        known = self._known.get(key)
        if known is None:
            known = self._find(key)
        durations, requests, responses = known
        durations.counts[bisect_left(DURATIONS, seconds)] += 1
        durations.total += seconds
#% if cookiecutter.tracing == "opentelemetry"
        if self.exemplar is not None and (trace_id := self.exemplar(exchange)):
            durations.attach(trace_id, seconds)
#% endif
        if exchange.body is None:  # the application has not read any
            requests.counts[0] += 1
        else:
            requests.observe(exchange.body.read)
        sent = 0 if method == "HEAD" else exchange.sent
        responses.counts[bisect_left(SIZES, sent)] += 1
        responses.total += sent

    def _find(self, key: Key) -> tuple[Series, Series, Series]:
        method, scheme, route, (status, by), refused = key
        if method is None:  # the handshake of a WebSocket that was not accepted
            method = "GET"
        elif method not in METHODS:
            method = OTHER
        labels = {"http_request_method": method, "http_route": route}
        known = self._requests.series(labels), self._responses.series(labels)
        code = str(status) if 100 <= status < 600 else OTHER
        error = ERRORS.get(by, by) or refused or (code if status >= 500 else "")
        labels = {
            "http_request_method": method,
            "url_scheme": scheme,
            "http_route": route,
            "http_response_status_code": code,
            **({"error_type": error} if error else {}),
        }
        found = self._durations.series(labels), *known
        if len(self._known) < self._limit:
            self._known[key] = found
        return found
