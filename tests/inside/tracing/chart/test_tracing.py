"""What the chart says of traces is what the service reads."""

import pytest

from app.observability import otel
from app.observability.spans import Sampling
from tests.chart.helm import Helm, HelmError

ENDPOINT = "http://collector.monitoring:4318"


def names(helm: Helm, **values: object) -> dict[str, str]:
    environment = helm.render({"tracing": values}).environment
    return {name: value for name, value in environment.items() if name.startswith("OTEL_")}


def test_no_collector_no_variables(helm: Helm) -> None:
    assert names(helm) == {}


def test_the_service_exports_to_it(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in names(helm, endpoint=ENDPOINT, sampleRatio=0.000001).items():
        monkeypatch.setenv(name, value)
    assert otel.wrong_variables() == []
    assert otel.exports()
    assert otel.exporter("ENDPOINT") == ENDPOINT
    assert otel.sampling() == Sampling(0.000001, parent_based=True)
    assert otel.read("OTEL_SERVICE_NAME") == "web-example-service"
    attributes = otel.pairs(otel.read("OTEL_RESOURCE_ATTRIBUTES"))
    assert attributes == {"k8s.deployment.name": "web-example-service", "service.version": "0.1.0"}


def test_no_share_at_all_is_a_share(helm: Helm) -> None:
    assert names(helm, endpoint=ENDPOINT, sampleRatio=0)["OTEL_TRACES_SAMPLER_ARG"] == "0"
    assert "OTEL_TRACES_SAMPLER" not in names(helm, endpoint=ENDPOINT)


@pytest.mark.parametrize(
    ("value", "wrong"), [("endpoint", "collector:4318"), ("sampleRatio", 1.5), ("ratio", 1)]
)
def test_what_cannot_work_is_refused(helm: Helm, value: str, wrong: object) -> None:
    with pytest.raises(HelmError, match="tracing"):
        names(helm, **{value: wrong})
