"""The formats of metrics: Prometheus text 0.0.4 and OpenMetrics 1.0.

``app.lifecycle.metrics`` lists what ``/metrics`` of the management port exposes. No library is
needed: prometheus-client would take 41 ms for 60 routes, and its import 80 ms.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

TEXT = b"text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = b"application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = Mapping[str, str]


class Family(Protocol):
    """A metric with its samples; ``Metric`` and ``Histogram`` are such."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Literal["gauge", "counter", "histogram"]: ...
    @property
    def help(self) -> str: ...
    def text(self, openmetrics: bool) -> str: ...


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with one value per set of labels."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: Iterable[tuple[Labels, float]]

    def text(self, openmetrics: bool) -> str:
        return "".join(f"{self.name}{braced(labels)} {value}\n" for labels, value in self.samples)


def gauge(name: str, meaning: str, value: float) -> Metric:
    """A metric without labels that goes up and down."""
    return Metric(name, "gauge", meaning, [({}, value)])


def counter(name: str, meaning: str, value: float) -> Metric:
    """A metric without labels that only goes up."""
    return Metric(name, "counter", meaning, [({}, value)])


def by(label: str, values: Mapping[Any, float | None]) -> list[tuple[Labels, float]]:
    """A sample for each of ``values`` that is not None; another thread may add to them."""
    found = sorted(dict(values).items())
    return [({label: key}, value) for key, value in found if value is not None]


def exposition(families: Iterable[Family], *, openmetrics: bool = False) -> str:
    """Format ``families`` in the given order, each with its HELP and TYPE.

    OpenMetrics names a counter without its suffix there. The end mark is left to the caller.
    """
    parts: list[str] = []
    for family in families:
        name = family.name.removesuffix("_total") if openmetrics else family.name
        meaning = _escaped(family.help, '"' if openmetrics else "")
        parts.append(f"# HELP {name} {meaning}\n# TYPE {name} {family.kind}\n")
        parts.append(family.text(openmetrics))
    return "".join(parts)


def accepts_openmetrics(accept: bytes) -> bool:
    """Whether the header ``Accept`` prefers OpenMetrics to text; RFC 9110, section 12.5.1."""
    weights = {"openmetrics": 0.0, "text": 0.0}
    for choice in accept.decode("latin-1").lower().split(","):
        kind, *parameters = (part.strip() for part in choice.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        weight = float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality) else 0.0
        group = "openmetrics" if kind == "application/openmetrics-text" else "text"
        weights[group] = max(weights[group], weight)
    return weights["openmetrics"] > 0 and weights["openmetrics"] >= weights["text"]


def pairs(labels: Labels) -> str:
    """``labels`` without braces."""
    return ",".join('{}="{}"'.format(name, _escaped(labels[name], '"')) for name in labels)


def braced(labels: Labels) -> str:
    return "{" + pairs(labels) + "}" if labels else ""


def _escaped(text: str, quote: str = "") -> str:
    """Escape backslashes, line breaks and ``quote``."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace(quote, f"\\{quote}") if quote else text
