"""``make bench``: measure, record, draw. Run by the Python of a project that the template has baked and set up."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.abuse import abuse
from benchmarks.bake import bakes
from benchmarks.check import check
from benchmarks.draining import draining
from benchmarks.features import FEATURES, features
from benchmarks.measures import MEASURES
from benchmarks.page import page
from benchmarks.picture import picture
from benchmarks.rollout import rollouts

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
OTHERS = {"features": features, "draining": draining, "abuse": abuse, "bake": bakes, "rollouts": rollouts}
NAMES = [*MEASURES, *OTHERS]
#: A feature alone: ``features:access log``.
ONE = "features:"
#: What a check measures: quick, and the same on every machine.
CHECKED = ("requests", "memory", "start", "stop", "features", "draining")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make bench", allow_abbrev=False)
    known = ", ".join([*NAMES, f"{ONE}NAME"])
    parser.add_argument("--only", type=names, default=NAMES, metavar="NAME[,NAME...]", help=known)
    parser.add_argument("--check", action="store_true", help="compare ratios with those on record")
    asked = parser.parse_args(arguments)
    recorded: dict[str, Any] = (
        json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {"costs": {}, "pythons": {}}
    )
    if asked.check:
        measures = {**MEASURES, "features": features, "draining": draining}
        on_record = recorded["costs"] | recorded.get("features", {}) | recorded.get("draining", {})
        sentences = check(on_record, {name: measures[name] for name in CHECKED if name in asked.only})
        print("\n".join(sentences) or "No ratio is worse than on record.", file=sys.stderr if sentences else sys.stdout)
        return 1 if sentences else 0
    for name in asked.only:
        print(f"{name} …", flush=True)
        if name in MEASURES:
            recorded["costs"].update(MEASURES[name]())
        elif name.startswith(ONE):
            recorded["features"].update(features(name.removeprefix(ONE)))
        else:
            recorded[name] = OTHERS[name]()
        recorded["pythons"][name.partition(":")[0]] = platform.python_version()
    packages = ", ".join(f"{name} {version(name)}" for name in ("uvicorn", "fastapi", "starlette"))
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "packages": packages}
    recorded |= {"date": date.today().isoformat(), "machine": machine, "measures": NAMES}
    RESULTS.write_text(json.dumps(recorded, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if missing := OTHERS.keys() - recorded.keys():
        print(f"The page needs {' and '.join(sorted(missing))} too.")
        return 0
    (ROOT / "docs" / "benchmarks.md").write_text(page(recorded), "utf-8")
    (ROOT / "docs" / "benchmarks.svg").write_text(picture(recorded), "utf-8")
    return 0


def names(text: str) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        known = [*NAMES, *(ONE + feature for feature in FEATURES)]
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
