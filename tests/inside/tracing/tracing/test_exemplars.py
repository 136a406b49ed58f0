"""The traces that the buckets of a histogram name."""

from app.lifecycle.http.measured import HttpMetrics
from app.observability.metrics import exposition
from tests.test_metric_formats import families, finished

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_exemplars_are_on_the_bucket_of_their_observation_in_openmetrics_only() -> None:
    metrics = HttpMetrics()
    metrics(finished(), 0.3)
    metrics.exemplar = lambda exchange: TRACE
    metrics(finished(), 0.03)
    metrics.exemplar = lambda exchange: "x" * 121  # more than the 128 characters of an exemplar
    metrics(finished(), 3)
    metrics.exemplar = lambda exchange: None
    metrics(finished(), 30)
    found = {
        one.labels["le"]: (one.exemplar.labels, one.exemplar.value)
        for one in families(metrics)[0].samples
        if one.exemplar
    }
    assert found == {"0.05": ({"trace_id": TRACE}, 0.03)}
    assert TRACE not in exposition(metrics.families())
