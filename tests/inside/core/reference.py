"""docs/reference.md, as it follows from the code.

``python -m tests.reference`` writes it anew; ``test_reference.py`` compares.
"""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from app import settings_table
from app.environment import variables
from app.lifecycle.exits import Exit
from app.lifecycle.http.exchange import CLIENT_GONE
from app.lifecycle.report import Report
from app.observability.access import LONGEST_AGENT
from app.observability.pipe import AT_EXIT, LIMIT

PROJECT = Path(__file__).resolve().parents[1]
PAGE = PROJECT / "docs" / "reference.md"
SOURCE = PROJECT / "src" / "app"
Row = tuple[str, ...]
LEVELS = ("debug", "info", "warning", "error", "exception")


def settings() -> str:
    """A row for each variable."""
    rows: list[Row] = []
    for name, info in variables():
        # What depends on where the process runs is in the description.
        default = "" if info.default_factory else info.default
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        by_type = "true or false" if isinstance(default, bool) else "text"
        allowed = "; ".join(settings_table.rule(info)) or by_type
        rows.append((f"`{name}`", f"`{shown}`" if shown else "", allowed, info.description or ""))
    return table(("Variable", "Default", "Allowed", "What it is"), rows)


def exit_codes() -> str:
    """A row for each exit code of ``serve``."""
    rows: list[Row] = [(str(code.value), code.meaning) for code in Exit]
    rows.append(("130, 143", "A third SIGINT or SIGTERM ended the process at once"))
    return table(("Exit code", "Meaning"), rows)


def metrics() -> str:
    """A row for each metric."""
    rows: list[Row] = []
    for call in calls(SOURCE / "lifecycle" / "metrics.py"):
        texts = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
        match called(call), texts:
            case "Metric", [str(name), str(kind), str(meaning)]:
                rows.append((f"`{name}`", kind, meaning))
            case "_gauge", [str(name), str(meaning), *_]:
                rows.append((f"`{name}`", "gauge", meaning))
    return table(("Metric", "Kind", "What it is"), rows)


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

Written by `make generate` from the code, and compared with it by the tests. The values of the chart
are in [its own table](../chart/README.md#values); what the drill takes says
`make drill ARGS="--help"`.

## Settings

Environment variables, read once at the start. A wrong or unknown one ends the service with exit
code {Exit.USAGE.value} and a line for each. In the chart they are values under `config:`, but for
the times of a stop, which are under `shutdown:`.

{settings()}

## Exit codes of `serve`

{exit_codes()}

`drain`, the preStop hook, and `probe` exit with 0 when the answer is yes, 1 when it is no or there
is none, and 2 for wrong usage.

## Metrics

On `/metrics` of the management port.

{metrics()}

## Log

One JSON object a line on standard output, or text in a terminal (`APP_LOG__FORMAT`). Every line has
`event`, `level`, `timestamp` and `phase`, that of a request and what is logged on its behalf
`request_id`, and each says whose it is where that is known: `pod`, `namespace`, `node`, `zone`.

A thread writes the log: when standard output is blocked, as by a log driver that stalls, requests
and the stop go on. Up to {LIMIT // 1024**2} MiB of lines wait; more are dropped, counted in
`app_log_lines_dropped_total`, and said by `log lines dropped` once the output can be written again.
When it cannot be written at all, as on a full disk, one line on standard error says so. The end of
the process waits at most {AT_EXIT:g} s for lines that are not written yet. What the application
itself prints is not part of this: `print` waits for whoever reads.

The fields of `request`:

- `client`: its address, as [trusted proxies](balancers.md) tell of it; empty on a Unix socket.
- `status`: what the client got. A refused WebSocket has the status of its refusal, an accepted one
  101. {CLIENT_GONE} means that the client went away before its response was complete.
- `bytes`: the body that the application sent, without headers and transfer coding; of a WebSocket,
  its messages.
- `ended_by`: only where the handler did not end it itself. `client`: the client went away; for an
  event stream or a WebSocket nothing unusual, so that its status stays as it was. `stop`: it was
  ended or cut off because the service stops.
- `user_agent`: at most {LONGEST_AGENT} characters of it.

In a terminal, control characters and those that change the direction of text are shown as escapes.

{events()}

What `step` of the event `stop` says, beside the sentence that ends the drain and names its rule:

{steps()}
"""


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
