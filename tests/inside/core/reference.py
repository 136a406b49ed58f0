"""docs/reference.md as it follows from the code; ``python -m tests.reference`` writes it."""

# ruff: noqa: E501 (lines of a Markdown page)

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from app.lifecycle.exits import Exit
from app.lifecycle.http.measured import OTHER
from app.lifecycle.http.request import CLIENT_GONE
from app.lifecycle.http.route import UNMATCHED
from app.lifecycle.report import Report
from app.observability.access import LONGEST_AGENT, LONGEST_PATH
from app.observability.histogram import MOST_SERIES
from app.observability.histogram import OVERFLOW as OVERFLOW_LABELS
from app.observability.metrics import braced
from app.observability.pipe import AT_EXIT, LIMIT

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "reference.md"
SOURCE = PROJECT / "src" / "app"
OVERFLOW = braced(OVERFLOW_LABELS)
Row = tuple[str, ...]
LEVELS = ("debug", "info", "warning", "error", "exception")


def exit_codes() -> str:
    """A row for each exit code of ``serve``."""
    rows: list[Row] = [(str(code.value), code.meaning) for code in Exit]
    rows.append(("130, 143", "A third SIGINT or SIGTERM ended the process at once"))
    return table(("Exit code", "Meaning"), rows)


def metrics() -> str:
    """A row for each metric."""
    rows: list[Row] = []
    for call in [call for path in SOURCE.rglob("*.py") for call in calls(path)]:
        texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        match called(call), texts:
            case "Metric", [str(name), str(kind), str(meaning)]:
                rows.append((f"`{name}`", kind, meaning))
            case ("Histogram" | "gauge" | "counter") as kind, [str(name), str(meaning), *_]:
                rows.append((f"`{name}`", kind.lower(), meaning))
    return table(("Metric", "Kind", "What it is"), sorted(rows, key=lambda row: row[0].strip("`")))


def events() -> str:
    """A row for each line that the service logs of itself, but for the examples."""
    rows: list[Row] = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).as_posix()
        for call in calls(path):
            level = called(call).removeprefix("log.")
            if level not in LEVELS or not call.args or module == "api/examples.py":
                continue
            fields = [word.arg for word in call.keywords if word.arg and word.arg != "exc_info"]
            if level == "exception" or "exc_info" in [word.arg for word in call.keywords]:
                level, fields = level.replace("exception", "error"), [*fields, "exception"]
            rows.append((text(call.args[0]), level, names(fields), module))
    rows.append(("`request`", "info", names(request_fields()), "observability/access.py"))
    report = [field.name for field in dataclasses.fields(Report)]
    rows.append(("`stopped`", "info, error", names(report), "lifecycle/report.py"))
    return table(("Event", "Level", "Fields", "Logged by"), sorted(rows))


def request_fields() -> list[str]:
    """Those that no other line has."""
    common = {"event", "level", "timestamp", "phase"}
    source = (SOURCE / "observability" / "access.py").read_text("utf-8")
    return [name for name in re.findall(r'"(\w+)": "?(?:HTTP/)?\{', source) if name not in common]


def names(fields: list[str]) -> str:
    return ", ".join(f"`{field}`" for field in fields)


def steps() -> str:
    """What ``step`` of the event ``stop`` may say, in the order of the source."""
    noted = [
        call.args[0]
        for call in calls(SOURCE / "lifecycle" / "stop.py")
        if called(call).endswith(".note")
    ]
    return "\n".join(f"- {text(step)}" for step in noted if not isinstance(step, ast.Name))


def calls(path: Path) -> Iterator[ast.Call]:
    tree = ast.parse(path.read_text("utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return iter(sorted(found, key=lambda call: (call.lineno, call.col_offset)))


def called(call: ast.Call) -> str:
    return ast.unparse(call.func)


def text(argument: ast.expr) -> str:
    """A text of the source, with … for what is put into it."""
    match argument:
        case ast.Constant(value=str(value)):
            return f"`{value}`"
        case ast.JoinedStr(values=parts):
            whole = "".join(str(p.value) if isinstance(p, ast.Constant) else "…" for p in parts)
            return f"`{whole}`"
        case ast.IfExp(body=body, orelse=orelse):
            return f"{text(body)} or {text(orelse)}"
    return f"`{ast.unparse(argument)}`"


def table(head: Row, rows: list[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in lines)


def page() -> str:
    """The whole page."""
    return f"""# Reference

Exit codes, metrics and log lines. [values.yaml](../chart/values.yaml) lists the values of the chart.

## Settings

`python -m app settings` lists all settings with default, range and description. They are environment variables, read
once at start-up. A wrong or unknown one ends the service with exit code {Exit.USAGE.value} and a line for each. In the chart they
go under `config:`, except for the times of a stop, which go under `shutdown:`.

## Exit codes of `serve`

{exit_codes()}

`drain`, the preStop hook, and `probe` exit with 0 when the answer is yes, 1 when it is no or there
is none, and 2 for wrong usage.

## Metrics

`/metrics` on the management port serves them, with those of your own (see [running.md](running.md#metrics)).

Requests have the names and labels of OpenTelemetry:

- `http_route`: the template of the route, with the prefixes of routers and mounts; never the path. `{UNMATCHED}`
  for a request that matches none or was shed, `/{{path}}` at the end for one that a mounted application does not know.
- `http_request_method`: `{OTHER}` for a non-standard method.
- `http_response_status_code`: as in the [log](#log): {CLIENT_GONE} if the client has left.
- `error_type`: only where a request failed. The status from 500 on, or what ended it early: `deadline`, `client gone`,
  `slow body`, `slow reader`, `drain`; `shed`: too many were in flight; `refused`: it came after the drain.

A metric has at most {MOST_SERIES:,} sets of labels. More share one, `{OVERFLOW}`.

{metrics()}

## Log

One JSON object per line on standard output, or text in a terminal (`APP_LOG__FORMAT`). Every line has
`event`, `level`, `timestamp` and `phase`; lines of a request, and those logged on its behalf, have
`request_id`. Where known, every line also has `pod`, `namespace`, `node` and `zone`. An error is in
`exception_type`, `exception_message` and `exception`, the traceback. [Logs](logs.md) has more.

A thread writes the log: when standard output is blocked, for example by a log driver that stalls,
requests and the stop go on. Up to {LIMIT // 1024**2} MiB of lines wait; more are dropped, counted in
`app_log_lines_dropped_total`, and reported by `log lines dropped` once the output can be written again.
When it cannot be written at all, as on a full disk, one line on standard error says so. At exit the
process waits at most {AT_EXIT:g} s for unwritten lines. This does not cover what the application prints
itself: `print` waits for the reader.

The fields of `request`:

- `client`: the client's address, as [trusted proxies](balancers.md) report it; empty on a Unix socket.
- `status`: the status that the client got. A refused WebSocket has the status of its refusal, an
  accepted one 101. {CLIENT_GONE} means that the client disconnected before its response was complete.
- `bytes`: the body that the application sent, without headers and transfer coding; for a WebSocket, its
  messages.
- `ended_by`: only where the handler did not end the request itself. `client`: the client disconnected;
  normal for an event stream or a WebSocket, so its status stays. `slow body`, with status 408, and
  `slow reader`: the service disconnected a client that was too slow. `idle`: it closed a WebSocket
  without messages. `deadline`: the request took too long. `stop`: the request was ended or cut off
  because the service stops.
- `user_agent`, `path`: at most {LONGEST_AGENT} and {LONGEST_PATH} characters of them.
- `share`: only if `APP_LOG__ACCESS_SHARE` is below 1. The line stands for `1 / share` requests.

In a terminal, control characters and those that change the direction of text are shown as escapes.

{events()}

The `step` of the event `stop` is one of these, or the sentence that ends the drain and names its rule:

{steps()}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
