"""The status as a page: no script, nothing from elsewhere. Imported when somebody opens it."""

import hashlib
import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from app.lifecycle.management.graph import draw
from app.lifecycle.management.markup import Html, duration, tag
from app.lifecycle.phase import Phase

STYLE = Path(__file__).with_name("statusz.css").read_text("utf-8")
_hash = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
#: The page may use its own style and the icon in its head, and nothing else.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
).encode()

#: Most names of running tasks.
MOST_TASKS = 20
#: The colour of the icon in the tab.
COLOURS = {"ready": "%232f77ad", "draining": "%23ac6c00", "stopping": "%237750a4"}
ICON = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<circle cx='8' cy='8' r='7' fill='{}'/></svg>"
)

Json = Mapping[str, Any]


def render(status: Json, *, refresh: int = 0) -> str:
    """The page; with ``refresh``, it loads itself again after so many seconds."""
    service = next(iter(status["versions"]))
    pod = status["identity"]["pod"] or f"process {status['process']['pid']}"
    phase = status["phase"] if status["ready"] or status["phase"] != "ready" else "unready"
    head = tag(
        "head",
        _void("meta", charset="utf-8"),
        _void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _void("meta", name="color-scheme", content="light dark"),
        _void("meta", http_equiv="refresh", content=refresh) if refresh else None,
        tag("title", f"{phase} · {pod} · {service}"),
        _void("link", rel="icon", href=ICON.format(COLOURS.get(phase, "%238f7400"))),
        Html(f"<style>{STYLE}</style>"),
    )
    body = tag(
        "body",
        _header(status, service, pod, phase, refresh),
        tag("main", [part for part in _sections(status) if part]),
    )
    return f'<!doctype html>\n<html lang="en">\n{head}\n{body}\n</html>\n'


def _void(name: str, /, **attributes: object) -> Html:
    """An element that has no end."""
    return Html(tag(name, **attributes).removesuffix(f"</{name}>"))


def _header(status: Json, service: str, pod: str, phase: str, refresh: int) -> Html:
    why = [] if status["why"] == phase else [f"{status['why']}."]
    if status["killed_in_seconds"] is not None:
        why.append(f"The grace period ends in {duration(status['killed_in_seconds'])}")
        cut = f", requests are cut off in {duration(status['cut_in_seconds'])}."
        why[-1] += cut if phase == "draining" else "."
    again = tag("a", "reload every 5 s", href="?format=html&refresh=5")
    if refresh:
        again = tag("a", f"reloads every {refresh} s: stop", href="?format=html")
    links = tag("span", " · ", again, " · ", tag("a", "JSON", href="?format=json"), class_="links")
    up = duration(status["process"]["uptime_seconds"])
    return tag(
        "header",
        tag("p", service, " ", status["versions"][service], class_="service"),
        tag("h1", pod, " ", tag("span", phase, class_=f"phase phase-{phase}")),
        tag("p", " ".join(why), class_="why"),
        tag("ol", [_step(one, status["history"]) for one in Phase], class_="phases"),
        tag("p", f"{_time(status['now'])} UTC, up for {up}", links, class_="made"),
    )


def _step(phase: Phase, history: Sequence[Json]) -> Html:
    """A phase of the past, the present or the future."""
    found = next((one for one in history if one["phase"] == phase.label), None)
    if found is None:
        return tag("li", tag("strong", phase.label), class_="ahead")
    texts = (found["reason"], _time(found["at"]), duration(found["seconds"]))
    return tag(
        "li",
        tag("strong", phase.label),
        [tag("span", text) for text in texts],
        class_=f"phase-{phase.label}",
        aria_current="step" if found is history[-1] else None,
    )


def _sections(status: Json) -> Iterable[Html | None]:
    yield _figures(status)
    if status["stop"]:
        yield _section(
            "The stop so far",
            tag("ol", [tag("li", step) for step in status["stop"]], class_="steps"),
        )
    yield _exchanges(
        "Requests in flight", status["requests"], status["in_flight"], "No request is in flight."
    )
    yield _exchanges(
        "Open streams", status["open_streams"], status["streams"], "No stream is open."
    )
    yield _components(status["components"])
    yield _checks(status["checks"])
    yield _tasks(status)
    yield _limits(status["limits"])
    yield tag("div", [_facts(title, facts) for title, facts in _details(status)], class_="details")
    yield _settings(status["settings"])


def _details(status: Json) -> Iterable[tuple[str, Json]]:
    yield "Pod", status["identity"]
    yield "Endpoint", status["endpoint"]
#% if cookiecutter.leader_election == "yes"
    yield "Leader", status["leadership"]
#% endif
    connections = dict(status["connections"])
    closed = {
        f"closed, {reason}": count for reason, count in connections.pop("closed").items() if count
    }
    yield (
        "Connections",
        {**connections, **closed, "keep_alive_seconds": status["keep_alive_seconds"]},
    )
    if status["requests_cancelled"]:
        yield "Requests cancelled", status["requests_cancelled"]
    if "shedding" in status:
        yield "Load shedding", status["shedding"]
    yield "Process", status["process"]
    yield "Versions", status["versions"]


def _figures(status: Json) -> Html:
    """The numbers to look at first."""
    stalled = status["event_loop_stalled_seconds"]
    figures = {
        "in flight": status["in_flight"],
        "streams": status["streams"],
        "connections": status["connections"]["open"],
        "event loop": f"blocked for {duration(stalled)}" if stalled > 0.5 else "responsive",
        "memory": _value("memory_bytes", status["process"]["memory_bytes"]),
        "overdue threads": status["overdue_threads"],
    }
    return tag(
        "dl",
        [tag("div", tag("dt", name), tag("dd", value)) for name, value in figures.items()],
        class_="figures",
    )


def _section(title: str, *content: object) -> Html:
    return tag("section", tag("h2", title), *content)


def _table(
    title: str, head: Sequence[str], rows: Iterable[Sequence[object]], empty: str = ""
) -> Html:
    """A section with a table; the first cell of a row is its name."""
    found = [
        tag("tr", tag("th", first, scope="row"), [tag("td", cell) for cell in others])
        for first, *others in rows
    ]
    if not found:
        return _section(title, tag("p", empty, class_="empty"))
    names = tag("thead", tag("tr", [tag("th", name, scope="col") for name in head]))
    table = tag("table", names, tag("tbody", found))
    return _section(
        title, tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=title)
    )


def _exchanges(title: str, exchanges: Sequence[Json], count: int, empty: str) -> Html:
    rows = [
        (
            duration(one["seconds"]),
            one["method"],
            _route(one),
            one["state"],
            tag("code", one["request_id"]),
        )
        for one in exchanges
    ]
    if count > len(rows):
        title = f"{title}: the oldest {len(rows)} of {count}"
    return _table(title, ("age", "method", "route", "state", "request id"), rows, empty)


def _route(one: Json) -> Html:
    route = one["route"]
    return (
        tag("code", route)
        if route
        else tag("span", tag("code", one["path"]), " (no route)", class_="muted")
    )


def _components(components: Mapping[str, Json]) -> Html:
    if not components:
        return _section("Components", tag("p", "There are none.", class_="empty"))
    rule = "Those on the left start first and stop last; the time is that of the start or the stop."
    graph = tag(
        "div", draw(components), class_="scroll", tabindex=0, role="region", aria_label="Components"
    )
    return _section("Components", tag("p", rule, class_="muted"), graph)


def _checks(checks: Mapping[str, Json]) -> Html:
    marks = {True: ("passes", "good"), False: ("fails", "bad"), None: ("has not run", "muted")}
    rows = []
    for name, check in checks.items():
        text, kind = marks[check["well"]]
        verdict = tag("span", text, class_=kind)
        error = f": {check['error']}" if check["error"] else ""
        gating = "unready if it fails" if check["gating"] else "shown only"
        rows.append((name, [verdict, error], duration(check["seconds"]), gating))
    return _table("Checks", ("check", "result", "took", "effect"), rows, "There are none.")


def _limits(limits: Mapping[str, Json]) -> Html:
    rows = []
    for name, one in limits.items():
        now, limit = one["now"], one["limit"]
        meter = None
        if now is not None and limit:
            meter = tag("meter", value=now, max=limit, high=limit * 0.8, aria_label=name)
        shown = "none" if limit is None else _value(name, limit)
        rows.append((_words(name), _value(name, now), shown, meter))
    return _table("Limits", ("of", "now", "limit", "share"), rows)


def _tasks(status: Json) -> Html:
    failures: Json = status["task_failures"]
    rows = []
    for name, one in status["periodic_tasks"].items():
        due = (
            "none"
            if one["next_run"] is None
            else f"in {duration(_between(status['now'], one['next_run']))}"
        )
        last = (
            "none"
            if one["last_run"] is None
            else f"{duration(_between(one['last_run'], status['now']))} ago"
        )
        failed = tag("span", one["failures"], class_="bad" if one["failures"] else "muted")
        rows.append((name, duration(one["every_seconds"]), last, due, one["runs"], failed))
    running: Counter[str] = Counter(status["tasks"])
    others = [name for name in (*running, *failures) if name not in status["periodic_tasks"]]
    for name in list(dict.fromkeys(others))[:MOST_TASKS]:
        failed = tag("span", failures.get(name, 0), class_="bad" if name in failures else "muted")
        rows.append((name, "once", f"{running[name]} running", "", "", failed))
    head = ("task", "every", "last run", "next run", "runs", "failed")
    return _table("Tasks", head, rows, "There are none.")


def _facts(title: str, facts: Json) -> Html:
    rows = [
        tag("div", tag("dt", _words(name)), tag("dd", _value(name, value)))
        for name, value in facts.items()
        if value not in ("", None, [], {})
    ]
    return _section(
        title, tag("dl", rows, class_="facts") if rows else tag("p", "Unknown.", class_="empty")
    )


def _settings(settings: Mapping[str, Json]) -> Html:
    rows = [
        (
            tag("code", [(part, Html("<wbr>")) for part in name.replace("__", "__ ").split(" ")]),
            tag("code", _written(one["value"]), class_="value"),
            tag("strong", "set") if one["set"] else tag("span", "default", class_="muted"),
        )
        for name, one in settings.items()
    ]
    return _table("Settings", ("variable", "value", "from"), rows, "Unknown.")


def _written(value: object) -> str:
    """The value of a setting as its variable would be written."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _words(name: str) -> str:
    """A key of the JSON as people say it; the unit is in the value."""
    for unit in ("_seconds", "_bytes"):
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def _value(name: str, value: object) -> object:
    """A value with its unit."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if name.endswith("_bytes"):
            return f"{value / 1024**2:,.1f} MiB"
        return duration(value) if name.endswith(("_seconds", "seconds_left")) else f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {one}" for key, one in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _time(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S}"


def _between(stamp: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(stamp)).total_seconds()
