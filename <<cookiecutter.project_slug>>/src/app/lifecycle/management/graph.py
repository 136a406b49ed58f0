"""The graph of the components as a picture: what starts first is on the left.

A layered drawing. Each component is in a column to the right of all that it needs; a line
that crosses a column gets a place there; places are sorted by those they are connected with.
"""

from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import NamedTuple

from app.lifecycle.management.markup import Html, duration, tag

#: Pixels: a box, the space below and beside it, and the height of a place for a line.
WIDTH, HEIGHT, BELOW, BESIDE, PASSAGE = 170, 46, 14, 54, 8
#: The most characters of a name in a box.
LONGEST = 17
#: Columns for components that are connected with no other.
COLUMNS = 4
#: How often the places are sorted.
SWEEPS = 4

Needs = Mapping[str, Collection[str]]


class Place(NamedTuple):
    """A box, or where the line between two boxes passes through a column."""

    column: int
    name: str
    to: str = ""


Line = list[Place]


def draw(components: Mapping[str, Mapping[str, object]]) -> Html:
    """The picture of ``components``: ``state``, ``needs`` and ``start_seconds`` by name."""
    needs = {name: _names(given["needs"]) for name, given in components.items()}
    connected = {
        one for name, given in needs.items() for one in (*given, *([name] if given else []))
    }
    places, lines = _layered({name: needs[name] for name in needs if name in connected})
    at = _coordinates(_sorted(places, lines))
    top = max((y + HEIGHT / 2 + BELOW for _, y in at.values()), default=0.0)
    columns = max(COLUMNS, 1 + max((place.column for place in at), default=0))
    for index, name in enumerate(name for name in needs if name not in connected):
        row, column = divmod(index, columns)
        at[Place(column, name)] = (_x(column), top + row * (HEIGHT + BELOW) + HEIGHT / 2)
    width = max(x for x, _ in at.values()) + WIDTH
    height = max(y for _, y in at.values()) + HEIGHT / 2
    return tag(
        "svg",
        tag("title", "What the components need"),
        tag("desc", ". ".join(_sentence(name, given) for name, given in components.items())),
        [_curve([at[place] for place in line]) for line in lines],
        [_box(one.name, components[one.name], *at[one]) for one in at if not one.to],
        class_="graph",
        role="img",
        viewBox=f"-1 -1 {width + 2:g} {height + 2:g}",
        width=f"{width + 2:g}",
        height=f"{height + 2:g}",
    )


def _names(given: object) -> list[str]:
    return [str(one) for one in given] if isinstance(given, Collection) else []


def _layered(needs: Needs) -> tuple[list[list[Place]], list[Line]]:
    """The places by column, and for each line those from which to where it leads."""
    columns: dict[str, int] = {}
    for name in TopologicalSorter(needs).static_order():
        columns[name] = max((columns[one] + 1 for one in needs[name]), default=0)
    lines = []
    for name, given in needs.items():
        for one in given:
            between = range(columns[one] + 1, columns[name])
            passed = [Place(column, one, name) for column in between]
            lines.append([Place(columns[one], one), *passed, Place(columns[name], name)])
    places = {Place(columns[name], name) for name in needs} | {
        one for line in lines for one in line
    }
    found: list[list[Place]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for place in sorted(places):
        found[place.column].append(place)
    return found, lines


def _sorted(columns: list[list[Place]], lines: list[Line]) -> list[list[Place]]:
    """Sort each column by the mean row of its neighbours, from the left and from the right."""
    left: dict[Place, list[Place]] = {}
    right: dict[Place, list[Place]] = {}
    for line in lines:
        for one, other in pairwise(line):
            left.setdefault(other, []).append(one)
            right.setdefault(one, []).append(other)
    rows = {place: _row(index, column) for column in columns for index, place in enumerate(column)}
    for _ in range(SWEEPS):
        for neighbours, order in ((left, columns), (right, columns[::-1])):
            for column in order:
                means = {
                    place: sum(rows[one] for one in found) / len(found)
                    for place in column
                    if (found := neighbours.get(place))
                }
                column.sort(key=lambda place: means.get(place, rows[place]))
                rows |= {place: _row(index, column) for index, place in enumerate(column)}
    return columns


def _row(index: int, column: list[Place]) -> float:
    """The row in its column, counted from the middle."""
    return index - (len(column) - 1) / 2


def _coordinates(columns: list[list[Place]]) -> dict[Place, tuple[float, float]]:
    """The left end and the middle of each place; the columns are centred."""
    heights = [[PASSAGE if place.to else HEIGHT for place in column] for column in columns]
    totals = [sum(column) + BELOW * (len(column) - 1) for column in heights]
    found = {}
    for column, sizes, total in zip(columns, heights, totals, strict=True):
        y = (max(totals) - total) / 2
        for place, size in zip(column, sizes, strict=True):
            found[place] = (_x(place.column), y + size / 2)
            y += size + BELOW
    return found


def _x(column: int) -> float:
    return column * (WIDTH + BESIDE)


def _curve(points: list[tuple[float, float]]) -> Html:
    """From the right end of the first place to the left end of the last one."""
    parts: list[str] = []
    for (x, y), (to, end) in pairwise(points):
        middle = (x + WIDTH + to) / 2
        start = "M" if not parts else "L"
        parts.append(
            f"{start}{x + WIDTH:g} {y:g}C{middle:g} {y:g} {middle:g} {end:g} {to:g} {end:g}"
        )
    return tag("path", d="".join(parts), class_="need")


def _box(name: str, component: Mapping[str, object], x: float, y: float) -> Html:
    state, top = str(component["state"]), y - HEIGHT / 2
    short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return tag(
        "g",
        tag("title", _sentence(name, component)),
        tag("rect", x=f"{x:g}", y=f"{top:g}", width=WIDTH, height=HEIGHT, rx=5),
        tag("circle", cx=f"{x + 16:g}", cy=f"{y:g}", r=5),
        tag("text", short, x=f"{x + 30:g}", y=f"{y - 4:g}"),
        tag(
            "text",
            f"{state}{_seconds(component)}",
            x=f"{x + 30:g}",
            y=f"{y + 13:g}",
            class_="small",
        ),
        class_=f"component state-{state}",
    )


def _seconds(component: Mapping[str, object]) -> str:
    """How long it took to start, or to stop."""
    stopped, started = component.get("stop_seconds"), component.get("start_seconds")
    took = started if stopped is None else stopped
    return f", {duration(took)}" if isinstance(took, float) else ""


def _sentence(name: str, component: Mapping[str, object]) -> str:
    needs, budget = " and ".join(_names(component["needs"])), component.get("budget_seconds")
    closes = f", closes within {budget:g} s" if isinstance(budget, float | int) else ""
    return f"{name} is {component['state']}{f' and needs {needs}' if needs else ''}{closes}"
