"""docs/benchmarks.md, as it follows from the results."""

from collections.abc import Mapping, Sequence
from typing import Any

Results = Mapping[str, Any]
VARIANTS = {
    "service": "the service",
    "naive": "plain uvicorn",
    "sleep-5": "plain uvicorn, preStop sleep 5",
    "sleep-15": "plain uvicorn, preStop sleep 15",
}


def page(results: Results) -> str:
    """The whole page."""
    machine = results["machine"]
    return f"""# Benchmarks

What the lifecycle costs a healthy service, and what it saves in a rolling update. Each run measures the service and one
without the lifecycle in turns, so that other load on the machine affects both. The ratios are valid elsewhere; the
absolute figures are those of this machine.

![Ratios, and requests lost in rolling updates](benchmarks.svg)

Measured on {results["date"]} with {machine["cores"]} shared cores, {pythons(machine["python"], results["pythons"])},
{machine["packages"]}.

## Costs

The bare service is `benchmarks/bare.py`: FastAPI on `uvicorn.run` with the same uvloop and httptools, and only
`/hello`, in a router as in a real project (a router alone costs FastAPI a tenth of a request). A ratio below 1
means that the service has the lower figure. Requests come from 16 kept connections, as fast as they are answered.

{baking(results["bake"])}

{costs(results["costs"])}

## What a feature costs

The service with it, and what that adds to the service without it: to the CPU of a request, to the memory after some
load, and to the time of a start. Both run in turns. Limits for clients and deadlines of routes have no row of their
own: they are part of every request above. The answer of traces turns off FastAPI's own telemetry, which costs a request
5 µs even where nobody uses it.

{prices(results["features"])}

## While it drains

The cost of a request in a draining service and in the same service while it serves, each with many open connections.
Idle ones were answered and kept, silent ones never sent a request, streams are WebSockets. Every request uses a new
connection.

{drains(results["draining"])}

## Clients that are slow, silent or greedy

How long each may go on, and by how much the memory grows, next to plain uvicorn with its defaults.

{abuses(results["abuse"])}

{beside_abusers(results["abuse"]["p99"])}

## A rolling update

Measured by the generated project's drill on this machine: pods are processes, clients learn of each change 2 s late.
The same routes run in the service and on plain uvicorn, without a hook and with a preStop hook that sleeps. There are
no streams, because plain uvicorn would wait for them until it is killed. *Exit* is the longest time from a pod's
deletion to its exit, *possible* the earliest exit that could have lost nothing.

{rollouts(results["rollouts"])}

## Repeat the measurements

```sh
make bench                                  # everything, takes 30 minutes; writes this page
make bench ARGS="--only requests,memory"    # some of it: {", ".join(results["measures"])}
make bench ARGS=--check                     # exit code 1 when a ratio is worse by more than 10 %
```
"""


def pythons(latest: str, versions: Mapping[str, str]) -> str:
    """The version, and those of measurements that were not repeated with it."""
    older = [f"{name} {version}" for name, version in versions.items() if version != latest]
    return f"Python {latest}" + (f" ({', '.join(older)})" if older else "")


def baking(bake: Mapping[str, float]) -> str:
    return (
        f"Baking the default project takes {bake['default']:.2f} s, "
        f"{bake['ratio']:.1f} times as long as baking a template of one file."
    )


def costs(figures: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (name, number(found["service"], found["unit"]), number(found["bare"], found["unit"]), f"× {found['ratio']:.2f}")
        for name, found in figures.items()
    ]
    return table(("", "Service", "Bare", "Ratio"), rows)


def prices(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """A row for each feature, with what it adds to each figure."""
    rows: dict[str, list[str]] = {}
    kinds: list[str] = []
    for name, found in figures.items():
        feature, _, kind = name.partition(": ")
        rows.setdefault(feature, []).append(price(found))
        if kind not in kinds:
            kinds.append(kind)
    return table(("", *kinds), [(feature, *cells) for feature, cells in rows.items()])


def price(found: Mapping[str, Any]) -> str:
    added = found["on"] * (1 - 1 / found["ratio"])
    return f"{number(found['on'], found['unit'])} ({added:+.{0 if abs(added) >= 10 else 1}f}, × {found['ratio']:.2f})"


def drains(figures: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (name, *(number(found[state], found["unit"]) for state in ("draining", "serving")), f"× {found['ratio']:.2f}")
        for name, found in figures.items()
    ]
    return table(("CPU per request", "Draining", "Serving", "Ratio"), rows)


def abuses(found: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> str:
    def row(name: str, figures: Mapping[str, float | None], form: str) -> tuple[str, ...]:
        shown = ("open" if figures[server] is None else form.format(figures[server]) for server in ("service", "bare"))
        return (name, *shown)

    rows = [row(name, figures, "{:g} s") for name, figures in found["open"].items()]
    rows += [row(name, figures, "+{:g} MiB") for name, figures in found["memory"].items()]
    return table(("", "Service", "Plain uvicorn"), rows)


def beside_abusers(found: Mapping[str, Mapping[str, float]]) -> str:
    ((clients, figures),) = found.items()
    return (
        f"Beside {clients} of these kinds, the p99 of other requests is {figures['abused']:.2f} ms, and "
        f"{figures['without']:.2f} ms without them: × {figures['ratio']:.2f}."
    )


def rollouts(found: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            str(row["replicas"]),
            f"{row['rate']:g}",
            VARIANTS[row["variant"]],
            f"{row['seconds']:g} s",
            f"{row['lost']:,} of {row['requests']:,}",
            f"{row['exit']:g} s",
            f"{row['possible']:g} s" if row["possible"] is not None else "",
        )
        for row in found
    ]
    return table(("Pods", "Requests a second", "", "Whole update", "Lost", "Exit", "Possible"), rows)


def number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}" if value < 10 else f"{value:.1f} {unit}"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("".join(f"| {cell} " if cell else "| " for cell in row) + "|" for row in lines)
