"""HTML and SVG in which every text is escaped."""

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
