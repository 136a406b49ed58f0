"""Whether a ratio has become worse than the one that is on record."""

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

#: Share by which a ratio may be worse.
TOLERANCE = 0.10
#: Further measurements of what seems worse: the machine may have been busy.
REPEATS = 2

Figures = Mapping[str, Any]
Measure = Callable[[], Mapping[str, Figures]]


def worse(recorded: Figures, ratio: float) -> bool:
    """By more than the tolerance, in the direction that hurts."""
    limit: float = recorded["ratio"]
    return ratio < limit * (1 - TOLERANCE) if recorded["better"] == "more" else ratio > limit * (1 + TOLERANCE)


def check(recorded: Mapping[str, Figures], measures: Mapping[str, Measure]) -> list[str]:
    """A sentence for each ratio that has fallen. What seems worse is measured again, and the median counts."""
    sentences = []
    for measure in measures.values():
        rounds = [measure()]
        if any(worse(recorded[name], found["ratio"]) for name, found in rounds[0].items() if name in recorded):
            rounds += [measure() for _ in range(REPEATS)]
        for name in rounds[0]:
            if name not in recorded:
                sentences.append(f"{name} is not on record: run `make bench` and commit its results.")
                continue
            ratio = median(found[name]["ratio"] for found in rounds)
            if worse(recorded[name], ratio):
                sentences.append(
                    f"{name}: a ratio of {ratio:.2f}, and {recorded[name]['ratio']:.2f} on record; "
                    f"{TOLERANCE:.0%} are allowed."
                )
    return sentences
