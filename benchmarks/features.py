"""What a feature costs: the service with it, beside the service without it, in turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from benchmarks.load import load
from benchmarks.measures import ROUNDS, under_load, used_memory
from benchmarks.processes import SERVICE, Server, serving

#: Pairs of processes whose memory and start are compared.
LIVES = 6
UNITS = {"CPU per request": "µs", "memory": "MiB", "start": "ms"}


@dataclass(frozen=True)
class Feature:
    """Settings with which it is on and off."""

    on: Mapping[str, str]
    off: Mapping[str, str] = field(default_factory=dict)


FEATURES = {
    "access log": Feature({"APP_LOG__ACCESS": "true"}),
    "default deadline": Feature({}, {"APP_REQUESTS__TIMEOUT_SECONDS": "0"}),
    "load shedding": Feature({"APP_REQUESTS__MAX_IN_FLIGHT": "1000"}),
    "load shedding with priorities": Feature(
        {"APP_REQUESTS__MAX_IN_FLIGHT": "1000", "APP_REQUESTS__PRIORITY": "header"}
    ),
    "load shedding, adaptive": Feature(
        {"APP_REQUESTS__MAX_IN_FLIGHT": "1000", "APP_REQUESTS__IN_FLIGHT_LIMIT": "adaptive"}
    ),
}


def features() -> dict[str, dict[str, float | str]]:
    """Medians of both, and that of the ratios of pairs, for each feature and unit."""
    found: dict[str, dict[str, float | str]] = {}
    for name, feature in FEATURES.items():
        pairs = {"CPU per request": requests(feature), **lives(feature)}
        for figure, taken in pairs.items():
            found[f"{name}: {figure}"] = {
                "on": median(on for on, _ in taken),
                "off": median(off for _, off in taken),
                "ratio": median(on / off for on, off in taken),
                "unit": UNITS[figure],
                "better": "less",
            }
    return found


def requests(feature: Feature) -> list[tuple[float, float]]:
    """Processor time of a request, in µs. Both run; the clients turn from one to the other."""
    pairs = []
    with serving(SERVICE, settings=feature.on) as on, serving(SERVICE, settings=feature.off) as off:
        for server in (on, off):
            load(server.port, 1.0)  # warm
        for turn in range(ROUNDS):
            both = (on, off) if turn % 2 == 0 else (off, on)
            taken = {server.port: under_load(server)["cpu"] for server in both}
            pairs.append((taken[on.port], taken[off.port]))
    return pairs


def lives(feature: Feature) -> dict[str, list[tuple[float, float]]]:
    """Memory after some load in MiB, and the time of a start in ms: a process each, one after the other."""
    pairs: dict[str, list[tuple[float, float]]] = {"memory": [], "start": []}
    for turn in range(LIVES):
        taken: dict[str, dict[str, float]] = {}
        for state in ("on", "off") if turn % 2 == 0 else ("off", "on"):
            with serving(SERVICE, settings=getattr(feature, state)) as server:
                taken[state] = life(server)
        for figure, both in pairs.items():
            both.append((taken["on"][figure], taken["off"][figure]))
    return pairs


def life(server: Server) -> dict[str, float]:
    return {"start": server.start * 1e3, "memory": used_memory(server)}
