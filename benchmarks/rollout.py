"""A rolling update rehearsed by the project's own drill: the service, and the same routes on plain uvicorn."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from drill import options
from drill.local.cluster import LocalBackend
from drill.plan import Plan, compared
from drill.rehearsal import rehearse
from drill.result.analysis import Analysis
from drill.scenarios import SCENARIOS

#: Pods, and requests a second: as many as two cores can do beside that many pods.
SIZES = {3: 150.0, 10: 100.0, 30: 60.0}
VARIANTS = ("service", "naive", "sleep-5", "sleep-15")

Row = dict[str, Any]


def rollouts() -> list[Row]:
    """A row for each number of pods and each variant."""
    rows = []
    for replicas, rate in SIZES.items():
        # Without streams: plain uvicorn would wait for them until it is killed.
        asked = ["--replicas", str(replicas), "--rate", str(rate), "--streams", "0"]
        plan = options.make_plan(options.parse(asked))
        for variant in VARIANTS:
            rows.append(rollout(plan if variant == "service" else compared(plan, variant)))
            print(f"  {replicas} pods, {variant}: {rows[-1]['lost']} lost", flush=True)
    return rows


def rollout(plan: Plan) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        backend = LocalBackend(lambda line: None, Path(folder))
        rehearsal = asyncio.run(rehearse(SCENARIOS["rolling"], plan, backend))
        analysis = Analysis.of(rehearsal)  # reads the pods' logs
    told = [lane for lane in analysis.lanes if lane.told_at is not None and lane.gone_at is not None]
    exits = [lane.gone_at - lane.told_at for lane in told]
    possible = [lane.possible_at - lane.told_at for lane in told if lane.possible_at is not None]
    began, ended = rehearsal.disturbance
    return {
        "replicas": plan.replicas,
        "rate": plan.rate,
        "variant": plan.variant,
        "seconds": round(ended - began, 1),
        "requests": len(rehearsal.ledger.samples),
        "lost": len(analysis.losses),
        "exit": round(max(exits), 1),
        "possible": round(max(possible), 1) if possible else None,
    }
