"""The command line of the drill."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from drill.chart import Values
from drill.errors import DrillError
from drill.load.routes import Routes
from drill.plan import Plan, compared
from drill.scenarios import SCENARIOS, Scenario

PROJECT = Path(__file__).resolve().parents[1]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m drill",
        description="Rehearse what happens to a release under load, and count what is lost.",
        epilog="Exit 0: nothing lost; 1: something lost; 2: the drill could not run.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--scenario",
        type=scenarios,
        default=["rolling"],
        metavar="NAME[,NAME...]",
        help=f"what happens: all, or of {', '.join(SCENARIOS)} (rolling)",
    )
    add("--replicas", type=natural, default=3, help="pods (%(default)s)")
    add("--rate", type=positive, default=150.0, help="requests a second (%(default)g)")
    add("--streams", type=count, default=6, help="clients of each kind of stream (%(default)s)")
    add(
        "--propagation",
        type=span,
        default=(2.0, 2.0),
        metavar="SECONDS[-SECONDS]",
        help="how late clients learn of a change of the endpoints, as 2s or 0.5s-4s (2s)",
    )
    add("--values", type=Path, action="append", default=[], help="values for the chart: a file")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="one value for the chart")
    add(
        "--env",
        type=variable,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable for the containers, as for what the chart takes from a Secret",
    )
    add(
        "--compare",
        type=variant,
        metavar="naive|sleep-SECONDS",
        help="the same again with plain uvicorn and no hook, or one that sleeps, for the picture",
    )
    add(
        "--out",
        type=Path,
        default=PROJECT / "build" / "drill",
        metavar="FOLDER",
        help="gets report.json and report.html (build/drill)",
    )
    add("--backend", choices=["local", "cluster"], default="local", help="where (%(default)s)")
    cluster = parser.add_argument_group("backend cluster")
    cluster.add_argument("--context", help="the kube context, by name: it has to be confirmed")
    cluster.add_argument("--namespace", default="default", help="where to install (%(default)s)")
    cluster.add_argument("--release", help="take this release instead of installing one")
    return parser.parse_args(arguments)


def make_plan(options: argparse.Namespace) -> Plan:
    """Raises DrillError for a drill.toml that cannot be used."""
    routes = PROJECT / "drill.toml"
    for path in options.values:
        if not path.is_file():
            raise DrillError(f"--values {path}: there is no such file.")
    return Plan(
        values=Values(tuple(options.values), tuple(options.set)),
        replicas=options.replicas,
        rate=options.rate,
        streams=options.streams,
        propagation=options.propagation,
        routes=Routes.read(routes) if routes.exists() else Routes(),
        environment=dict(options.env),
    )


def chosen(options: argparse.Namespace) -> list[Scenario]:
    return [SCENARIOS[name] for name in options.scenario]


def scenarios(text: str) -> list[str]:
    names = list(SCENARIOS) if text == "all" else text.split(",")
    for name in names:
        if name not in SCENARIOS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SCENARIOS)} or all")
    return names


def variant(text: str) -> str:
    try:
        return compared(Plan(), text).variant
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def natural(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return number


def count(text: str) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return number


def positive(text: str) -> float:
    if not 0 < (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def span(text: str) -> tuple[float, float]:
    least, _, most = text.partition("-")
    numbers = [float(part.removesuffix("s")) for part in (least, most or least)]
    if not 0 <= numbers[0] <= numbers[1] < 3600:
        raise argparse.ArgumentTypeError(f"{text} is no range of 0 to 3600 s, as 2s or 0.5s-4s")
    return numbers[0], numbers[1]


def variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
