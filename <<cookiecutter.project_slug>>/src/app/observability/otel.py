"""The OTEL_* variables, read and checked; https://opentelemetry.io/docs/specs/otel/configuration.

Those that are not listed here are left to the SDK, which ignores what it does not understand.
"""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from app.observability.lines import redacted
from app.observability.spans import Sampling

#: Samplers, and the share of traces that they record if it is not OTEL_TRACES_SAMPLER_ARG.
SAMPLERS = {
    "always_on": 1.0,
    "always_off": 0.0,
    "traceidratio": None,
    "parentbased_always_on": 1.0,
    "parentbased_always_off": 0.0,
    "parentbased_traceidratio": None,
}
PROPAGATORS = {"tracecontext": ("traceparent", "tracestate"), "baggage": ("baggage",), "none": ()}
#: Longest time for an attempt to export, in seconds.
LONGEST_TIMEOUT = 60.0
#: The same where nothing is set: a collector is close by.
TIMEOUT = 2.0


class Rule(NamedTuple):
    """What a variable must be."""

    text: str
    holds: Callable[[str], object]


def read(name: str) -> str:
    """The value of a variable; empty if it is unset."""
    return os.environ.get(name, "").strip()


def _one_of(*names: str) -> Rule:
    return Rule(f"must be {' or '.join((', '.join(names[:-1]), names[-1]))}", names.__contains__)


def _number(low: float, high: float) -> Callable[[str], bool]:
    def holds(value: str) -> bool:
        try:
            return low <= float(value) <= high
        except ValueError:
            return False

    return holds


def _is_endpoint(value: str) -> bool:
    try:
        url = urlsplit(value)
        return url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # the port is no number
        return False


def pairs(value: str) -> dict[str, str]:
    """``key=value`` pairs with commas between. Raises ValueError."""
    found = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        key, equals, text = pair.partition("=")
        if not (key.strip() and equals):
            raise ValueError(pair)
        found[key.strip()] = unquote(text.strip())
    return found


def _are_pairs(value: str) -> bool:
    try:
        return bool(pairs(value))
    except ValueError:
        return False


_TRUTH = _one_of("true", "false")
_COUNT = Rule("must be a whole number above 0", re.compile(r"0*[1-9]\d{0,8}").fullmatch)
_PAIRS = Rule("must be pairs such as key=value, with commas between", _are_pairs)
_RULES = {
    "OTEL_SDK_DISABLED": _TRUTH,
    "FASTAPI_OTEL_AUTO_CONFIGURE": Rule(
        "must be false: the service has an exporter, and would send each span twice",
        {"false", "0"}.__contains__,
    ),
    "OTEL_TRACES_EXPORTER": _one_of("otlp", "none"),
    "OTEL_TRACES_SAMPLER": _one_of(*SAMPLERS),
    "OTEL_TRACES_SAMPLER_ARG": Rule(
        "must be the share of traces to record, from 0 to 1", _number(0, 1)
    ),
    "OTEL_PROPAGATORS": Rule(
        "must be some of tracecontext, baggage, none, with commas between",
        lambda value: {part.strip() for part in value.split(",")} <= set(PROPAGATORS),
    ),
    "OTEL_RESOURCE_ATTRIBUTES": _PAIRS,
    "OTEL_BSP_MAX_QUEUE_SIZE": _COUNT,
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": _COUNT,
    "OTEL_BSP_SCHEDULE_DELAY": _COUNT,
}
_EXPORTER_RULES = {
    "ENDPOINT": Rule(
        "must be the address of a collector, such as http://collector:4318", _is_endpoint
    ),
    "PROTOCOL": Rule("must be http/protobuf, usually on port 4318", {"http/protobuf"}.__contains__),
    "HEADERS": _PAIRS,
    "TIMEOUT": Rule(
        f"must be seconds, from 0.1 to {LONGEST_TIMEOUT:g}", _number(0.1, LONGEST_TIMEOUT)
    ),
    "COMPRESSION": _one_of("none", "gzip", "deflate"),
    "CERTIFICATE": Rule("must be the path of a file", lambda value: Path(value).is_file()),
    "CLIENT_KEY": Rule("must be the path of a file", lambda value: Path(value).is_file()),
    "CLIENT_CERTIFICATE": Rule("must be the path of a file", lambda value: Path(value).is_file()),
}
#: Values that may be secrets.
_SECRET = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")


def exporter(name: str) -> str:
    """What the exporter of traces goes by: its own variable, or that of all exporters."""
    return read(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or read(f"OTEL_EXPORTER_OTLP_{name}")


def wrong_variables() -> list[str]:
    """A sentence for each variable that cannot work."""
    return list(_wrong())


def _wrong() -> Iterator[str]:
    rules = dict(_RULES)
    for name, rule in _EXPORTER_RULES.items():
        rules[f"OTEL_EXPORTER_OTLP_{name}"] = rules[f"OTEL_EXPORTER_OTLP_TRACES_{name}"] = rule
    for name, rule in rules.items():
        if (value := read(name)) and not rule.holds(value):
            shown = "" if name in _SECRET else f"={redacted(value)!r}"
            yield f"{name}{shown} {rule.text}"
    if read("OTEL_TRACES_SAMPLER_ARG") and not read("OTEL_TRACES_SAMPLER").endswith("ratio"):
        yield (
            "OTEL_TRACES_SAMPLER_ARG has no effect: remove it, or set "
            "OTEL_TRACES_SAMPLER=parentbased_traceidratio"
        )
    queue, batch = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    sizes = read(queue) or "2048", read(batch) or "512"
    if all(map(_COUNT.holds, sizes)) and int(sizes[0]) < int(sizes[1]):
        yield f"{batch}={sizes[1]} is above {queue}={sizes[0]}: a batch must fit into the queue"


def exports() -> bool:
    """Whether spans are recorded and sent; without an endpoint nobody wants them."""
    off = read("OTEL_SDK_DISABLED") == "true" or read("OTEL_TRACES_EXPORTER") == "none"
    return bool(exporter("ENDPOINT")) and not off


def sampling() -> Sampling:
    """Which traces are recorded, by OTEL_TRACES_SAMPLER and its argument."""
    name = read("OTEL_TRACES_SAMPLER") or "parentbased_always_on"
    share = SAMPLERS[name]
    if share is None:
        share = float(read("OTEL_TRACES_SAMPLER_ARG") or 1)
    return Sampling(share, name.startswith("parentbased"))


def headers() -> list[str]:
    """Names of the headers that carry a trace, by OTEL_PROPAGATORS."""
    names = read("OTEL_PROPAGATORS") or "tracecontext,baggage"
    return [header for name in names.split(",") for header in PROPAGATORS[name.strip()]]
