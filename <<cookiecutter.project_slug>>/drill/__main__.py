"""``python -m drill``: exit 0 when nothing was lost, 1 when something was, 2 when it cannot run."""

import argparse
import asyncio
#% if cookiecutter.database == "postgresql"
import contextlib
#% endif
import shutil
import sys
from collections.abc import Sequence
from signal import SIGINT, SIGTERM, Signals

#% if cookiecutter.database == "postgresql"
from drill import database, options
#% else
from drill import options
#% endif
from drill.backend import Backend
from drill.errors import DrillError
from drill.local.cluster import LocalBackend
#% if cookiecutter.database == "postgresql"
from drill.plan import Plan, compared
#% else
from drill.plan import compared
#% endif
from drill.rehearsal import rehearse
from drill.result import text
from drill.result.analysis import Analysis
from drill.result.report import Report
from drill.result.stop import tail


def main(arguments: Sequence[str] | None = None) -> int:
    asked = options.parse(arguments)
    try:
        return asyncio.run(run(asked))
    except (DrillError, OSError, ExceptionGroup) as error:
        print(f"\nThe drill could not run: {explain(error)}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return stopped_by(SIGINT)
    except asyncio.CancelledError:
        return stopped_by(SIGTERM)


async def run(asked: argparse.Namespace) -> int:
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(SIGTERM, task.cancel)

#% if cookiecutter.database == "postgresql"
    with contextlib.ExitStack() as stack:
        plan = options.make_plan(asked)
        if asked.backend == "local":
            plan = stack.enter_context(database.provided(plan))
        return await run_plan(asked, plan)


async def run_plan(asked: argparse.Namespace, plan: Plan) -> int:
    """Rehearse ``plan`` in each scenario that was asked for."""
#% else
    plan = options.make_plan(asked)
#% endif
    plans = [plan, compared(plan, asked.compare)] if asked.compare else [plan]
    backend = make_backend(asked)
    report = Report(asked.out)
    verdicts: list[str] = []
    passed = True
    try:
        for scenario in options.chosen(asked):
            if why := backend.unsupported.get(scenario.name):
                verdicts.append(f"SKIPPED  {scenario.name}: {why}")
                continue
            for each in plans:
                say(f"\n{text.title(scenario, each, asked.backend)}\n")
                analysis = Analysis.of(await rehearse(scenario, each, backend))
                say(f"\n{text.render(analysis)}")
                report.add(analysis)
                verdicts.append(text.verdict(analysis))
                # Losses of the variant do not count.
                passed = passed and (analysis.passed or each.variant != "service")
    finally:
        page = report.write() if verdicts else None
    if len(verdicts) > 1:
        say("\n" + "\n".join(verdicts))
    say(f"\nReport: {page}")
    return 0 if passed else 1


def make_backend(asked: argparse.Namespace) -> Backend:
    logs = asked.out / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    if asked.backend == "local":
        return LocalBackend(say, logs)
    try:
        from drill.cluster.cluster import ClusterBackend
    except ModuleNotFoundError as error:
        raise DrillError(
            f'package {error.name} is missing: `make drill ARGS="--backend cluster"` installs it.'
        ) from error
    return ClusterBackend(asked.context, asked.namespace, asked.release, say, logs)


def explain(error: Exception) -> str:
    """Return the reason in one sentence. Re-raises an error that is a bug of the drill."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, DrillError):
        last = f"; its log ends with:\n{tail(error.log)}" if error.log else ""
        return f"{error}{last}"
    if isinstance(error, OSError):
        return f"{error}; lower --rate or --slow-clients, or raise `ulimit -n`."
    raise error


def stopped_by(number: Signals) -> int:
    print(f"\nStopped by {number.name}; everything was cleaned up.", file=sys.stderr)
    return 128 + number


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
