"""The drill in a real cluster: the one of KUBECONFIG, with the image and values of DRILL_OPTIONS.

DRILL_OPTIONS="--set image.repository=example,image.tag=dev" pytest tests/drill/cluster/test_real.py
"""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("kubernetes", reason="the package `kubernetes` is not installed")

from drill.cluster.api import current_context

PROJECT = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not {"KUBECONFIG", "DRILL_OPTIONS"} <= os.environ.keys(),
        reason="no cluster: KUBECONFIG and DRILL_OPTIONS are not set",
    ),
]


@pytest.mark.parametrize(
    "scenario",
    [
        *("rolling", "scale-down", "eviction", "short-grace", "crash", "node-drain"),
        *("bad-release", "prestop-missing"),
    ],
)
def test_a_healthy_service_loses_nothing(scenario: str, tmp_path: Path) -> None:
    context = current_context(os.environ["KUBECONFIG"])
    command = ["-m", "drill", "--backend", "cluster", "--context", context, "--scenario", scenario]
    own = ["--out", str(tmp_path), *shlex.split(os.environ["DRILL_OPTIONS"])]
    done = subprocess.run(
        [sys.executable, *command, *own], cwd=PROJECT, text=True, capture_output=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
