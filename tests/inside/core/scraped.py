"""Metrics as the strict parsers of the official library read them."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from tests.harness import Service

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> list[Any]:
    return list(parser.text_string_to_metric_families(text))


def parsed_openmetrics(text: str) -> list[Any]:
    return list(openmetrics_parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def families(service: Service, accept: str = "*/*") -> list[Any]:
    """What a scraper reads that accepts this."""
    answer = service.probe("metrics", accept=accept)
    assert answer.status == 200
    text, kind = answer.body.decode(), answer.headers["content-type"]
    if accept == OPENMETRICS:
        assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        return parsed_openmetrics(text)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(text)


def samples(found: Iterable[Any]) -> Samples:
    """The values by name and labels."""
    every = [sample for family in found for sample in family.samples]
    values = {(one.name, frozenset(one.labels.items())): one.value for one in every}
    assert len(values) == len(every), "a sample is there twice"
    return values


def read(service: Service, name: str, **labels: str) -> float:
    """A sample; 0 if there is none."""
    return samples(families(service)).get((name, frozenset(labels.items())), 0)
