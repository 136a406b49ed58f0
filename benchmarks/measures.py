"""Each figure of the service beside that of the bare one, taken in turns: what else the machine does hits both."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks.load import load
from benchmarks.processes import BARE, SERVICE, Server, serving

Pairs = list[tuple[float, float]]
Figures = dict[str, float | str]

LEADER = Path(__file__).resolve().parent.parent / "build/leader/example-service"
#: Seconds of one turn under load.
TURN = 3.0
ROUNDS = 8


def compare(pairs: Pairs, unit: str, better: str) -> Figures:
    """Medians of both, and the median of the ratios of the pairs: service to bare."""
    return {
        "service": median(one for one, _ in pairs),
        "bare": median(other for _, other in pairs),
        "ratio": median(one / other for one, other in pairs),
        "unit": unit,
        "better": better,
    }


def requests(*, access: bool) -> dict[str, Figures]:
    """Both run; the clients turn from one to the other."""
    seen: dict[str, Pairs] = {"rate": [], "p50": [], "p99": [], "cpu": []}
    with serving(SERVICE, access=access) as service, serving(BARE, access=access) as bare:
        for server in (service, bare):
            load(server.port, 1.0)  # warm
        for turn in range(ROUNDS):
            both = (service, bare) if turn % 2 == 0 else (bare, service)
            taken = {server.port: under_load(server) for server in both}
            for name, pairs in seen.items():
                pairs.append((taken[service.port][name], taken[bare.port][name]))
    suffix = ", with an access log" if access else ""
    return {
        f"requests per second{suffix}": compare(seen["rate"], "1/s", "more"),
        f"p50{suffix}": compare(seen["p50"], "ms", "less"),
        f"p99{suffix}": compare(seen["p99"], "ms", "less"),
        f"CPU per request{suffix}": compare(seen["cpu"], "µs", "less"),
    }


def under_load(server: Server) -> dict[str, float]:
    before = server.cpu
    result = load(server.port, TURN)
    return {
        "rate": result.requests / result.seconds,
        "p50": result.percentile(0.5) * 1e3,
        "p99": result.percentile(0.99) * 1e3,
        "cpu": (server.cpu - before) / result.requests * 1e6,
    }


def lives(
    name: str, take: Callable[[Server], float], unit: str, rounds: int, project: Path | None = None
) -> dict[str, Figures]:
    """A process each, one after the other; the service that of ``project``."""
    pairs: Pairs = []
    python, path = (str(project / ".venv/bin/python"), str(project / "src")) if project else (sys.executable, "")
    for _ in range(rounds):
        with serving(SERVICE, python=python, path=path) as service:
            ours = take(service)
        with serving(BARE) as bare:
            pairs.append((ours, take(bare)))
    return {name: compare(pairs, unit, "less")}


def used_memory(server: Server) -> float:
    load(server.port, 1.0)
    return server.memory


def stop_when_idle(server: Server) -> float:
    """A second after the last request, which is what the service waits for."""
    time.sleep(1.1)
    return server.stop() * 1e3


def with_leader_election() -> dict[str, Figures]:
    """The project of the other answer, with its own packages."""
    return {
        **lives("memory, with leader election", used_memory, "MiB", 3, LEADER),
        **lives("start, with leader election", lambda server: server.start * 1e3, "ms", 6, LEADER),
    }


MEASURES: dict[str, Callable[[], dict[str, Figures]]] = {
    "requests": lambda: requests(access=False) | requests(access=True),
    "memory": lambda: lives("memory", used_memory, "MiB", 4),
    "start": lambda: lives("start", lambda server: server.start * 1e3, "ms", 12),
    "stop": lambda: lives("stop when idle", stop_when_idle, "ms", 8),
    "leader": with_leader_election,
}
