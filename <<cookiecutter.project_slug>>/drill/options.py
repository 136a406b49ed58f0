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
        description="Rehearse rollouts and failures of a release under load; count lost requests.",
        epilog="Exit codes: 0 nothing lost, 1 something lost, 2 the drill could not run.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--scenario",
        type=scenarios,
        default=["rolling"],
        metavar="NAME[,NAME...]",
        help=f"scenarios to run: all, or some of {', '.join(SCENARIOS)} (default: rolling)",
    )
    add("--replicas", type=natural, default=3, help="number of pods (default: %(default)s)")
    add("--rate", type=positive, default=150.0, help="requests a second (default: %(default)g)")
    add(
        "--streams",
        type=count,
        default=6,
        help="clients of each kind of stream (default: %(default)s)",
    )
    add(
        "--slow-clients",
        type=count,
        default=1000,
        help="clients of scenario slow-clients that are slow (default: %(default)s)",
    )
    add(
        "--propagation",
        type=span,
        default=(2.0, 2.0),
        metavar="SECONDS[-SECONDS]",
        help="delay until clients see changes of endpoints, such as 2s or 0.5s-4s (default: 2s)",
    )
    add("--values", type=Path, action="append", default=[], help="file with values for the chart")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="a value for the chart")
    add(
        "--env",
        type=variable,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="environment variable of the containers, for example one that comes from a Secret",
    )
    add(
        "--compare",
        type=variant,
        metavar="naive|sleep-SECONDS",
        help="also run plain uvicorn without a hook, or with a hook that sleeps, for comparison",
    )
    add(
        "--out",
        type=Path,
        default=PROJECT / "build" / "drill",
        metavar="FOLDER",
        help="where to write report.json and report.html (default: build/drill)",
    )
    add(
        "--backend",
        choices=["local", "cluster"],
        default="local",
        help="where to run (default: %(default)s)",
    )
    cluster = parser.add_argument_group("backend cluster")
    cluster.add_argument("--context", help="name of the current kube context, as a confirmation")
    cluster.add_argument(
        "--namespace", default="default", help="namespace to install into (default: %(default)s)"
    )
    cluster.add_argument("--release", help="use this release instead of installing one")
    return parser.parse_args(arguments)


def make_plan(options: argparse.Namespace) -> Plan:
    """Raises DrillError if drill.toml or a file of values cannot be used."""
    routes = PROJECT / "drill.toml"
    for path in options.values:
        if not path.is_file():
            raise DrillError(f"--values {path}: file not found.")
    return Plan(
        values=Values(tuple(options.values), tuple(options.set)),
        replicas=options.replicas,
        rate=options.rate,
        streams=options.streams,
        slow_clients=options.slow_clients,
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
            raise argparse.ArgumentTypeError(
                f"{name!r} is not all or one of {', '.join(SCENARIOS)}"
            )
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
        raise argparse.ArgumentTypeError(
            f"{text} is not a range within 0 to 3600 s, such as 2s or 0.5s-4s"
        )
    return numbers[0], numbers[1]


def variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
