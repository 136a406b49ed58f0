"""OTEL_* variables that cannot work are refused, each with a sentence."""

import pytest

from app.observability import otel
from tests.conftest import Start
from tests.harness import eventually

WRONG = {
    "OTEL_SDK_DISABLED": ("maybe", "must be true or false"),
    "OTEL_TRACES_EXPORTER": ("console", "must be otlp or none"),
    "OTEL_TRACES_SAMPLER": ("sometimes", "must be always_on, always_off, traceidratio, "),
    "OTEL_PROPAGATORS": ("b3", "must be some of tracecontext, baggage, none"),
    "OTEL_RESOURCE_ATTRIBUTES": ("team", "must be pairs such as key=value"),
    "OTEL_BSP_MAX_QUEUE_SIZE": ("0", "must be a whole number above 0"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("collector:4318", "such as http://collector:4318"),
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ("http://:4318", "such as http://collector:4318"),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("grpc", "must be http/protobuf, usually on port 4318"),
    "OTEL_EXPORTER_OTLP_TIMEOUT": ("10000", "must be seconds, from 0.1 to 60"),
    "OTEL_EXPORTER_OTLP_COMPRESSION": ("zip", "must be none, gzip or deflate"),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ("/nowhere", "must be the path of a file"),
    "FASTAPI_OTEL_AUTO_CONFIGURE": ("true", "would send each span twice"),
}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [*WRONG, "OTEL_TRACES_SAMPLER_ARG", "OTEL_EXPORTER_OTLP_HEADERS"]:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_all_wrong_ones_are_told_at_once(start: Start) -> None:
    service = start(**{name: value for name, (value, _) in WRONG.items()})
    assert service.ended() == 2
    lines = service.stderr.splitlines()
    assert len(lines) == len(WRONG)
    for name, (value, sentence) in WRONG.items():
        assert [x for x in lines if x.startswith(f"{name}={value!r} ") and sentence in x], name


@pytest.mark.parametrize("share", ["2", "-0.1", "nan", "half"])
def test_a_share_is_from_0_to_1(variables: pytest.MonkeyPatch, share: str) -> None:
    variables.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    variables.setenv("OTEL_TRACES_SAMPLER_ARG", share)
    sentence = (
        f"OTEL_TRACES_SAMPLER_ARG={share!r} must be the share of traces to record, from 0 to 1"
    )
    assert otel.wrong_variables() == [sentence]


def test_a_share_without_a_sampler_that_takes_one(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    (sentence,) = otel.wrong_variables()
    assert "OTEL_TRACES_SAMPLER=parentbased_traceidratio" in sentence


def test_a_batch_fits_into_the_queue(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    (sentence,) = otel.wrong_variables()
    assert sentence.startswith("OTEL_BSP_MAX_EXPORT_BATCH_SIZE=512 is above")


def test_secrets_are_not_shown(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")
    variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://me:hunter2@collector")
    sentences = otel.wrong_variables()
    assert len(sentences) == 2
    assert "hunter2" not in "".join(sentences)


def test_empty_and_right_ones_are_taken(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("OTEL_TRACES_SAMPLER", "")
    variables.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", " https://collector.example/otlp ")
    variables.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, tenant = blue ")
    variables.setenv("OTEL_PROPAGATORS", "tracecontext")
    assert otel.wrong_variables() == []
    assert otel.exports()
    assert otel.headers() == ["traceparent", "tracestate"]
    variables.setenv("OTEL_SDK_DISABLED", "true")
    assert not otel.exports()


def test_nothing_is_imported_for_traces_that_nobody_gets(start: Start) -> None:
    service = start(PYTHONPROFILEIMPORTTIME="1").ready()
    service.signal()
    assert service.ended() == 0
    text = eventually(lambda: service.stderr, "the list of imports")
    assert "app.observability.spans" in text
    assert "opentelemetry.sdk" not in text
