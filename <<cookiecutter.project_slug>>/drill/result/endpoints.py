"""What the API said of a pod's endpoint, and when clients were sent to it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from drill.record import Change, Endpoint


@dataclass(frozen=True, slots=True)
class Span:
    """``name`` holds from ``begin`` to ``end``."""

    name: str
    begin: float
    end: float

    def holds(self, at: float) -> bool:
        return self.begin <= at < self.end


def spans(marks: Iterable[tuple[float, str]], end: float) -> list[Span]:
    """Each mark holds until the next, the last until ``end``; nothing holds after ""."""
    found: list[Span] = []
    name, begin = "", 0.0
    for at, new in (*marks, (end, "")):
        at = min(at, end)
        if new == name:
            continue
        if name and at > begin:
            found.append(Span(name, begin, at))
        name, begin = new, at
    return found


def in_the_api(changes: Sequence[Change], pod: str, end: float) -> list[Span]:
    """ "ready", "serving" (while it terminates), "terminating" (serving no more) or "not ready"."""
    return spans(((c.at, _state(c.endpoint)) for c in changes if c.pod == pod), end)


def in_use(changes: Sequence[Change], end: float) -> Mapping[str, list[Span]] | None:
    """When clients were sent to each pod; None where nobody can tell when they learnt of it.

    They are sent to what is ready and, when nothing is, to what serves while
    it terminates, as kube-proxy does.
    """
    if any(change.seen_at is None for change in changes):
        return None
    marks: dict[str, list[tuple[float, str]]] = {change.pod: [] for change in changes}
    for at, chosen in _choices(changes):
        for pod, known in marks.items():
            known.append((at, "used" if pod in chosen else ""))
    return {pod: spans(known, end) for pod, known in marks.items()}


def _choices(changes: Sequence[Change]) -> Iterator[tuple[float, set[str]]]:
    known: dict[str, Endpoint] = {}
    for change in sorted(changes, key=lambda change: change.seen_at or 0.0):
        if change.endpoint is None:
            known.pop(change.pod, None)
        else:
            known[change.pod] = change.endpoint
        ready = {pod for pod, endpoint in known.items() if endpoint.ready}
        serving = {pod for pod, endpoint in known.items() if endpoint.serving}
        yield change.seen_at or 0.0, ready or serving


def _state(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return ""
    if endpoint.terminating:
        return "serving" if endpoint.serving else "terminating"
    return "ready" if endpoint.serving else "not ready"
