"""The status as a page: no script, nothing from elsewhere. Imported when somebody opens it."""

import hashlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.lifecycle.management.graph import draw
from app.lifecycle.management.markup import (
    Html,
    between,
    duration,
    empty,
    facts,
    measure,
    moment,
    section,
    setting,
    table,
    tag,
    wide,
    words,
)
from app.lifecycle.phase import Phase

STYLE = Path(__file__).with_name("statusz.css").read_text("utf-8")
_hash = b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
#: The page may use its own style and the icon in its head, and nothing else.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_hash}'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
).encode()

#: Seconds for which the event loop may not turn without being called blocked.
BLOCKED = 0.5
#: Most tasks in the table that are not periodic.
MOST_TASKS = 20
#: Colours of the icon in the tab, so that a pod's phase shows among many tabs.
COLOURS = {"ready": "2f77ad", "draining": "e0900c", "stopping": "7750a4"}
OTHER_COLOUR = "7d8894"
ICON = (
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<circle cx='8' cy='8' r='7' fill='%23{}'/></svg>"
)

Json = Mapping[str, Any]


def render(status: Json, *, refresh: int = 0) -> str:
    """The page; with ``refresh``, it loads itself again after so many seconds."""
    service = next(iter(status["versions"]))
    pod = status["identity"].get("pod") or f"process {status['process']['pid']}"
    phase = status["phase"] if status["ready"] or status["phase"] != "ready" else "unready"
    head = tag(
        "head",
        _void("meta", charset="utf-8"),
        _void("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _void("meta", name="color-scheme", content="light dark"),
        _void("meta", http_equiv="refresh", content=refresh) if refresh else None,
        tag("title", f"{phase} · {pod} · {service}"),
        _void("link", rel="icon", href=ICON.format(COLOURS.get(phase, OTHER_COLOUR))),
        Html(f"<style>{STYLE}</style>"),
    )
    header = tag(
        "header",
        tag("p", service, " ", status["versions"][service], class_="muted"),
        tag("h1", pod, " ", tag("span", phase, class_=f"phase phase-{phase}")),
        tag("p", " ".join(_why(status, phase)), class_="why"),
        tag("ol", [_step(one, status["history"]) for one in Phase], class_="phases"),
        _links(status, refresh),
    )
    body = tag("body", header, tag("main", list(_sections(status))))
    return f'<!doctype html>\n<html lang="en">\n{head}\n{body}\n</html>\n'


def _void(name: str, /, **attributes: object) -> Html:
    """An element that has no end."""
    return Html(tag(name, **attributes).removesuffix(f"</{name}>"))


def _why(status: Json, phase: str) -> Iterator[str]:
    if status["why"] != phase:
        yield f"{status['why']}."
    if phase == "draining":
        yield f"Requests are cut off in {duration(status['cut_in_seconds'])}."
    if status["killed_in_seconds"] is not None:
        yield f"The grace period ends in {duration(status['killed_in_seconds'])}."


def _step(phase: Phase, history: Sequence[Json]) -> Html:
    """A phase, with what is known of it if it was entered."""
    found = next((one for one in history if one["phase"] == phase.label), None)
    if found is None:
        return tag("li", tag("strong", phase.label), class_="ahead")
    texts = (found["reason"], moment(found["at"]), duration(found["seconds"]))
    return tag(
        "li",
        tag("strong", phase.label),
        [tag("span", text) for text in texts],
        class_=f"phase-{phase.label}",
        aria_current="step" if found is history[-1] else None,
    )


def _links(status: Json, refresh: int) -> Html:
    again = tag("a", "reload every 5 s", href="?format=html&refresh=5")
    if refresh:
        again = tag("a", f"reloads every {refresh} s: stop that", href="?format=html")
    links = tag("span", " · ", again, " · ", tag("a", "JSON", href="?format=json"), class_="links")
    up = duration(status["process"]["uptime_seconds"])
    return tag("p", f"{moment(status['now'])} UTC, up for {up}", links, class_="muted")


def _sections(status: Json) -> Iterator[Html]:
    yield _figures(status)
    if status["stop"]:
        yield section("The stop so far", tag("ol", [tag("li", one) for one in status["stop"]]))
    yield _exchanges("Requests in flight", status["requests"], status["in_flight"])
    yield _exchanges("Open streams", status["open_streams"], status["streams"])
    if status["busy_threads"]:
        yield _threads(status["busy_threads"])
    if status["still_running"]:
        yield _still_running(status["still_running"])
    yield _components(status["components"])
    yield _checks(status["checks"])
    yield _tasks(status)
    yield _limits(status["limits"])
    yield tag("div", [facts(title, known) for title, known in _facts(status)], class_="details")
    yield _settings(status["settings"])


def _figures(status: Json) -> Html:
    """The numbers to look at first."""
    stalled = status["event_loop_stalled_seconds"]
    figures = {
        "in flight": status["in_flight"],
        "streams": status["streams"],
        "connections": status["connections"]["open"],
        "event loop": f"blocked for {duration(stalled)}" if stalled > BLOCKED else "responsive",
        "memory": measure("memory_bytes", status["process"]["memory_bytes"]),
        "overdue threads": status["overdue_threads"],
    }
    shown = [tag("div", tag("dt", name), tag("dd", value)) for name, value in figures.items()]
    return tag("dl", shown, class_="figures")


def _exchanges(title: str, exchanges: Sequence[Json], count: int) -> Html:
    rows = []
    for one in exchanges:
        place = tag("code", one["route"] or one["path"])
        more = None if one["route"] else tag("span", " not routed", class_="muted")
        identity, age = tag("code", one["request_id"]), duration(one["seconds"])
        rows.append((age, one["method"], [place, more], one["state"], identity))
    if count > len(rows):
        title = f"{title}: the oldest {len(rows)} of {count}"
    return table(title, ("age", "method", "route", "state", "request id"), rows, "None.")


def _threads(stacks: Mapping[str, Sequence[str]]) -> Html:
    """What the threads are doing that go on after their request was cancelled."""
    shown = [
        [tag("h3", name), tag("ol", [tag("li", tag("code", line)) for line in lines])]
        for name, lines in stacks.items()
    ]
    return section("Threads of requests", shown)


def _still_running(listed: Json) -> Html:
    """What SIGUSR1 or the end of a budget listed last, each with its stack."""
    shown = []
    for one in listed["found"]:
        age = "" if one["seconds"] is None else f", {duration(one['seconds'])}"
        lines = tag("ol", [tag("li", tag("code", line)) for line in one["where"]])
        shown.append([tag("h3", one["kind"], " ", one["name"], age), lines])
    title = f"Still running at {listed['at']}, {moment(listed['time'])}"
    return section(title, shown or empty("Nothing."))


def _components(components: Mapping[str, Json]) -> Html:
    if not components:
        return section("Components", empty("None."))
    rule = "Those on the left start first and stop last; the time is that of the start or the stop."
    return section("Components", empty(rule), wide("Components", draw(components)))


def _checks(checks: Mapping[str, Json]) -> Html:
    results = {True: ("passes", "good"), False: ("fails", "bad"), None: ("has not run", "muted")}
    rows = []
    for name, check in checks.items():
        text, kind = results[check["well"]]
        error = f": {check['error']}" if check["error"] else ""
        effect = "unready if it fails" if check["gating"] else "none"
        result = [tag("span", text, class_=kind), error]
        rows.append((name, result, duration(check["seconds"]), effect))
    return table("Checks", ("check", "result", "took", "effect on readiness"), rows, "None.")


def _tasks(status: Json) -> Html:
    failures, now = status["task_failures"], status["now"]

    def failed(name: str) -> Html:
        return tag("span", failures.get(name, 0), class_="bad" if failures.get(name) else "muted")

    rows: list[Sequence[object]] = []
    for name, one in status["periodic_tasks"].items():
        last, due = one["last_run"], one["next_run"]
        began = f"{between(last, now)} ago" if last else "none"
        begins = "running" if one["running"] else f"in {between(now, due)}" if due else "none"
        every = duration(one["every_seconds"])
        rows.append((name, every, began, begins, one["runs"], failed(name)))
    running: Counter[str] = Counter(status["tasks"])
    others = [name for name in {**running, **failures} if name not in status["periodic_tasks"]]
    rows += [
        (name, "once", "", f"{running[name]} running", "", failed(name))
        for name in others[:MOST_TASKS]
    ]
    head = ("task", "every", "last run", "next run", "runs", "failed")
    return table("Tasks", head, rows, "None.")


def _limits(limits: Mapping[str, Json]) -> Html:
    rows = []
    for name, one in limits.items():
        now, limit = one["now"], one["limit"]
        share = None
        if limit and now is not None:
            share = tag("meter", value=now, max=limit, high=limit * 0.8, aria_label=words(name))
        shown = "none" if limit is None else measure(name, limit)
        rows.append((words(name), measure(name, now), shown, share))
    return table("Limits", ("of", "now", "limit", "share"), rows, "None.")


def _facts(status: Json) -> Iterator[tuple[str, Json]]:
    yield "Pod", status["identity"]
    yield "Endpoint", status["endpoint"]
#% if cookiecutter.leader_election == "yes"
    yield "Leader", status["leadership"]
#% endif
#% if cookiecutter.service_registry != "none"
    yield "Service registry", status["registration"]
#% endif
    connections = {**status["connections"], "keep_alive_seconds": status["keep_alive_seconds"]}
    closed = connections.pop("closed")
    reasons = {f"closed: {reason}": count for reason, count in closed.items() if count}
    yield "Connections", {**connections, **reasons}
    for name, shown in status["component_status"].items():
        yield f"Component {name}", shown
    if status["requests_cancelled"]:
        yield "Requests cancelled", status["requests_cancelled"]
    if "shedding" in status:
        yield "Load shedding", status["shedding"]
    yield "Process", status["process"]
    yield "Versions", status["versions"]


def _settings(settings: Mapping[str, Json]) -> Html:
    rows = []
    for name, one in settings.items():
        # May break between the names of a group and of its setting.
        parts = [(part, Html("<wbr>")) for part in name.replace("__", "__ ").split(" ")]
        origin = tag("strong", "set") if one["set"] else tag("span", "default", class_="muted")
        rows.append((tag("code", parts), tag("code", setting(one["value"])), origin))
    return table("Settings", ("variable", "value", "from"), rows, "Unknown.")
