"""HTML and SVG in which every text is escaped, and the parts of a page that are made of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

from app.observability.logging import printable


class Html(str):
    """Markup; any other text is escaped where it becomes a part of it."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element with ``children``: markup, texts or lists of them.

    None is left out, among the attributes too; ``class_`` means class, ``stroke_width``
    stroke-width.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{given}>{join(*children)}</{name}>")


def join(*children: object) -> Html:
    """``children`` one after the other."""
    return Html("".join(map(_markup, children)))


def _markup(child: object) -> str:
    if child is None or isinstance(child, Html):
        return child or ""
    return join(*child) if isinstance(child, list | tuple) else _text(child)


def _text(value: object) -> str:
    """Visible, also what would hide or turn the text around it; encodable as UTF-8."""
    return escape(printable(str(value)))


def duration(seconds: float) -> str:
    """A duration as people say it; 0 if it is negative."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds > 0 else "0 s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def section(title: str, *content: object) -> Html:
    return tag("section", tag("h2", title), *content)


def wide(title: str, content: Html) -> Html:
    """``content`` that may be wider than the screen: it scrolls, with the keyboard too."""
    return tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=title)


def empty(text: str) -> Html:
    return tag("p", text, class_="muted")


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]], none: str) -> Html:
    """A section with a table; the first cell of a row names it. ``none``: without rows."""
    found = [
        tag("tr", tag("th", first, scope="row"), [tag("td", cell) for cell in others])
        for first, *others in rows
    ]
    if not found:
        return section(title, empty(none))
    names = tag("thead", tag("tr", [tag("th", name, scope="col") for name in head]))
    return section(title, wide(title, tag("table", names, tag("tbody", found))))


def facts(title: str, known: Mapping[str, object]) -> Html:
    """A section with names and values, without those that say nothing."""
    rows = [
        tag("div", tag("dt", words(name)), tag("dd", measure(name, value)))
        for name, value in known.items()
        if value not in ("", None, [], {})
    ]
    return section(title, tag("dl", rows, class_="facts") if rows else empty("Unknown."))


def words(name: str) -> str:
    """A key of the JSON without its unit, which ``measure`` writes."""
    for unit in ("_seconds", "_bytes"):
        name = name.removesuffix(unit)
    return name.replace("_", " ")


def measure(name: str, value: object) -> object:
    """A value with the unit that its key names."""
    match value:
        case None:
            return "unknown"
        case bool():
            return "yes" if value else "no"
        case int() | float() if name.endswith("_bytes"):
            return f"{value / 1024**2:,.1f} MiB"
        case int() | float() if "seconds" in name:
            return duration(value)
        case int() | float() if name != "pid":
            return f"{value:,}"
        case list():
            return ", ".join(map(str, value))
        case Mapping():
            return ", ".join(f"{key}: {one}" for key, one in value.items())
    return value


def setting(value: object) -> str:
    """The value of a setting as one would write it into its variable."""
    if value is None:
        return "unset"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def moment(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp):%Y-%m-%d %H:%M:%S}"


def between(stamp: str, later: str) -> str:
    """How long it is from one time to the other; 0 if that is negative."""
    seconds = datetime.fromisoformat(later) - datetime.fromisoformat(stamp)
    return duration(seconds.total_seconds())
