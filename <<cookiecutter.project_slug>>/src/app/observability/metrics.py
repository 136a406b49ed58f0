"""The Prometheus text format, version 0.0.4.

``app.lifecycle.metrics`` lists what ``/metrics`` of the management port exposes. All values
are read from memory at each scrape: requests pay nothing, and no library is needed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

#: Content type of the format.
MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with one value per set of labels."""

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    samples: Iterable[tuple[Labels, float]]


def exposition(metrics: Iterable[Metric]) -> str:
    """Format ``metrics`` in the given order, each with its HELP and TYPE."""
    lines: list[str] = []
    for metric in metrics:
        lines.append(f"# HELP {metric.name} {_escaped(metric.help)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines += (f"{metric.name}{_braced(labels)} {value}" for labels, value in metric.samples)
    return "\n".join([*lines, ""])


def _braced(labels: Labels) -> str:
    pairs = ('{}="{}"'.format(name, _escaped(labels[name], '"')) for name in labels)
    return "{" + ",".join(pairs) + "}" if labels else ""


def _escaped(text: str, quote: str = "") -> str:
    """Escape backslashes, line breaks and ``quote``."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace(quote, f"\\{quote}") if quote else text
