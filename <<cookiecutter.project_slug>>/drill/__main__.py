"""``python -m drill``: exit 0 when nothing was lost, 1 when something was, 2 when it cannot run."""

import argparse
import asyncio
import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from drill import logs, report
from drill.errors import DrillError
from drill.pods import PodTemplate, Probe
from drill.processes import Processes
from drill.rollout import Plan, rehearse

#: The floor is shorter than the propagation: waiting for quiet has to find the rest.
SETTINGS = {"APP_SHUTDOWN__FLOOR_SECONDS": "1", "APP_SHUTDOWN__QUIET_SECONDS": "1"}
GRACE_SECONDS = 30.0
#: Under a longer temporary folder a control socket's path would not fit (104 octets on macOS).
LONGEST_FOLDER = 60


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return asyncio.run(run(options))
    except (DrillError, OSError, ExceptionGroup) as error:
        print(f"\nThe drill could not run: {explain(error)}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return stopped_by(signal.SIGINT)
    except asyncio.CancelledError:
        return stopped_by(signal.SIGTERM)


async def run(options: argparse.Namespace) -> int:
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    root = make_folder()
    verdicts: list[str] = []
    passed = False
    try:
        async with Processes() as processes:
            rehearsals = []
            for number, plan in enumerate(make_plans(options), 1):
                print(f"\n{plan}\n")
                folder = root / str(number)
                folder.mkdir()
                rehearsals.append(await rehearse(plan, processes, folder, say))
                print(f"\n{report.render(rehearsals[-1])}", flush=True)
        verdicts = [report.verdict(rehearsal) for rehearsal in rehearsals]
        passed = not any(report.find_faults(rehearsal) for rehearsal in rehearsals)
    finally:
        if passed:
            shutil.rmtree(root, ignore_errors=True)
        else:
            print(f"\nThe pods' logs: {root}")
    if len(verdicts) > 1:
        print("\n" + "\n".join(verdicts))
    return 0 if passed else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m drill",
        description="Rehearse a rolling restart under load and count what is lost.",
        epilog="Exit 0: nothing lost; 1: something lost; 2: the drill could not run.",
    )
    parser.add_argument("--replicas", type=natural, default=3, help="pods (%(default)s)")
    parser.add_argument(
        "--rate", type=positive, default=150.0, help="requests a second (%(default)g)"
    )
    parser.add_argument(
        "--streams", type=int, default=6, help="clients of each kind of stream (%(default)s)"
    )
    parser.add_argument(
        "--propagation",
        type=seconds_list,
        default=[2.0],
        metavar="SECONDS[,SECONDS...]",
        help="how late clients see a change of the endpoints; several are run in turn (2)",
    )
    parser.add_argument(
        "--set",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable for the pods; can be repeated",
    )
    parser.add_argument(
        "--python", default=sys.executable, help="the Python that runs the service (this one)"
    )
    parser.add_argument(
        "--command",
        type=shlex.split,
        help="what a pod runs instead; $(APP_HOST) and $(APP_PORT) are filled in",
    )
    parser.add_argument(
        "--pre-stop",
        type=shlex.split,
        metavar="COMMAND",
        help="the preStop hook (python -m app drain; none with --command)",
    )
    parser.add_argument(
        "--readiness",
        type=probe,
        default=Probe(),
        metavar="PORT:PATH",
        help="the readiness probe; PORT is main or management (management:/readyz)",
    )
    return parser.parse_args(arguments)


def make_plans(options: argparse.Namespace) -> list[Plan]:
    settings = {**SETTINGS, **dict(options.set)}
    app = (options.python, "-m", "app")
    pre_stop = () if options.command else (*app, "drain")
    template = PodTemplate(
        command=tuple(options.command or (*app, "serve")),
        pre_stop=tuple(pre_stop if options.pre_stop is None else options.pre_stop),
        environment=base_environment() | settings,
        readiness=options.readiness,
        grace=float(settings.get("APP_SHUTDOWN__GRACE_SECONDS", GRACE_SECONDS)),
    )
    return [
        Plan(template, options.replicas, options.rate, propagation, options.streams)
        for propagation in options.propagation
    ]


def base_environment() -> dict[str, str]:
    """The caller's environment without its settings for the service: a pod starts from its own."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("APP_", "KUBERNETES_"))
    }
    return inherited | {"PYTHONUNBUFFERED": "1"}


def make_folder() -> Path:
    if len(parent := tempfile.gettempdir()) > LONGEST_FOLDER:
        raise DrillError(f"{parent} is too long for a socket's path: set TMPDIR to a shorter one.")
    return Path(tempfile.mkdtemp(prefix="drill-"))


def explain(error: Exception) -> str:
    """The reason in one sentence; an error that is the drill's own goes on."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, DrillError):
        last = f"; the end of its log:\n{logs.tail(error.log)}" if error.log else ""
        return f"{error}{last}"
    if isinstance(error, OSError):
        return f"{error}; lower --rate or raise `ulimit -n`."
    raise error


def stopped_by(number: signal.Signals) -> int:
    print(f"\nStopped by {number.name}; nothing is left running.", file=sys.stderr)
    return 128 + number


def say(line: str) -> None:
    print(line, flush=True)


def natural(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def positive(text: str) -> float:
    if not 0 < (number := float(text)) < float("inf"):
        raise ValueError(text)
    return number


def seconds_list(text: str) -> list[float]:
    numbers = [float(part.removesuffix("s")) for part in text.split(",")]
    if not all(0 <= number < 3600 for number in numbers):
        raise ValueError(text)
    return numbers


def pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise ValueError(text)
    return name, value


def probe(text: str) -> Probe:
    port, colon, path = text.partition(":")
    if port not in ("main", "management") or not (colon and path.startswith("/")):
        raise ValueError(text)
    return Probe(path=path, port=port)


if __name__ == "__main__":
    sys.exit(main())
