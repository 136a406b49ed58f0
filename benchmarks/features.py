"""What a feature costs: the service with it, beside the service without it, in turns."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks.collector import collecting
from benchmarks.database import DATABASE, database
from benchmarks.load import load
from benchmarks.measures import ROUNDS, under_load, used_memory
from benchmarks.processes import SERVICE, Server, serving

TRACED = Path(__file__).resolve().parent.parent / "build/traced/example-service"
#: The port of the collector of spans.
COLLECTOR = 4319
#: Pairs of processes that take turns under load.
PROCESSES = 4
#: Pairs of processes whose memory and start are compared.
LIVES = 6
UNITS = {"CPU per request": "µs", "memory": "MiB", "start": "ms"}


@dataclass(frozen=True)
class Variant:
    """How the service runs: its settings and command, and the project whose answers it has."""

    settings: Mapping[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = SERVICE
    project: Path | None = None

    @contextmanager
    def serving(self) -> Iterator[Server]:
        python, path = sys.executable, ""
        if self.project is not None:
            python, path = str(self.project / ".venv/bin/python"), str(self.project / "src")
        with serving(self.command, python=python, path=path, settings=self.settings) as server:
            yield server


@dataclass(frozen=True)
class Feature:
    """The service with it and without it."""

    on: Variant
    off: Variant = Variant()
    #: What it needs beside it; yields settings that lead there.
    beside: Callable[[], AbstractContextManager[Mapping[str, str]]] = lambda: nullcontext({})


def traced(**sampler: str) -> Variant:
    """The project of the answer, whose spans go to a collector on this machine."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{COLLECTOR}"}
    return Variant(endpoint | sampler, project=TRACED)


FEATURES = {
    "access log": Feature(Variant({"APP_LOG__ACCESS": "true"})),
    "metrics": Feature(Variant(), off=Variant(command=("-m", "benchmarks.unmeasured"))),
    "traces at 1 %": Feature(traced(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.01")),
    "traces of every request": Feature(traced()),
    "database": Feature(Variant(project=DATABASE), beside=database),
    "default deadline": Feature(Variant(), off=Variant({"APP_REQUESTS__TIMEOUT_SECONDS": "0"})),
    "load shedding": Feature(Variant({"APP_REQUESTS__MAX_IN_FLIGHT": "1000"})),
    "load shedding with priorities": Feature(
        Variant({"APP_REQUESTS__MAX_IN_FLIGHT": "1000", "APP_REQUESTS__PRIORITY": "header"})
    ),
    "load shedding, adaptive": Feature(
        Variant({"APP_REQUESTS__MAX_IN_FLIGHT": "1000", "APP_REQUESTS__IN_FLIGHT_LIMIT": "adaptive"})
    ),
}


def features(*names: str) -> dict[str, dict[str, float | str]]:
    """Medians of both, and that of the ratios of pairs, for each of these features and unit; by default, all."""
    found: dict[str, dict[str, float | str]] = {}
    with collecting(COLLECTOR):
        for name in names or FEATURES:
            found |= priced(name, FEATURES[name])
    return found


def priced(name: str, feature: Feature) -> dict[str, dict[str, float | str]]:
    found: dict[str, dict[str, float | str]] = {}
    with feature.beside() as settings:
        feature = replace(feature, on=replace(feature.on, settings={**feature.on.settings, **settings}))
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
    """Processor time of a request, in µs. Both run; the clients turn from one to the other.

    Several processes of each: two of the same code differ by up to a tenth all their lives.
    """
    pairs = []
    for _ in range(PROCESSES):
        with feature.on.serving() as on, feature.off.serving() as off:
            for server in (on, off):
                load(server.port, 1.0)  # warm
            for turn in range(ROUNDS // PROCESSES):
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
            variant: Variant = getattr(feature, state)
            with variant.serving() as server:
                taken[state] = life(server)
        for figure, both in pairs.items():
            both.append((taken["on"][figure], taken["off"][figure]))
    return pairs


def life(server: Server) -> dict[str, float]:
    return {"start": server.start * 1e3, "memory": used_memory(server)}
