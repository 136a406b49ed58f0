"""How long components may take to close, and how that time is divided along their graph."""

from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter
from typing import Literal

Level = Literal["application", "data", "resources"]
Needs = Mapping[str, Collection[str]]

#: Seconds that a component of each level gets to close.
LEVELS: Mapping[Level, float] = {"application": 30.0, "data": 60.0, "resources": 15.0}
#: Steps in which an even cut is looked for: enough for a millisecond of an hour.
HALVINGS = 24


def longest(needs: Needs, seconds: Mapping[str, float]) -> dict[str, float]:
    """For each component, the seconds until it and all that it needs have closed, at most.

    A component closes before those that it needs, independent ones close side by side.
    """
    found: dict[str, float] = {}
    for name in TopologicalSorter(needs).static_order():
        found[name] = seconds.get(name, 0.0) + max((found[one] for one in needs[name]), default=0.0)
    return found


def chain(needs: Needs, seconds: Mapping[str, float]) -> dict[str, float]:
    """The components that take longest one after the other, first to close first.

    Without those that take no time; empty if there are no others.
    """
    totals = longest(needs, seconds)
    found: dict[str, float] = {}
    candidates: Collection[str] = totals
    while candidates:
        name = max(candidates, key=lambda one: totals[one])
        if seconds.get(name):
            found[name] = seconds[name]
        candidates = needs[name]
    return found


def divide(
    needs: Needs, budgets: Mapping[str, float | None], seconds: float, rest: float
) -> dict[str, float]:
    """The part of ``seconds`` that each component of ``budgets`` keeps; no chain exceeds them.

    Each keeps its budget. Those without one share what the longest chain leaves, ``rest``
    seconds at least. If it is too little for all, the largest parts are cut to the same size.
    """
    open_ended = [name for name, budget in budgets.items() if budget is None]
    # So many of them close one after the other.
    count = max(longest(needs, dict.fromkeys(open_ended, 1.0)).values(), default=0.0)
    wanted = {name: rest / count if own is None else own for name, own in budgets.items()}

    def left(cut: float) -> float:
        parts = {name: min(cut, part) for name, part in wanted.items()}
        return seconds - max(longest(needs, parts).values(), default=0.0)

    low, high = 0.0, max(wanted.values(), default=0.0)
    if (spare := left(high)) >= 0:
        more = dict.fromkeys(open_ended, spare / count if count else 0.0)
        return {name: part + more.get(name, 0.0) for name, part in wanted.items()}
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) >= 0 else (low, middle)
    return {name: min(low, part) for name, part in wanted.items()}
