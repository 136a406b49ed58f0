"""The rules that the chart renders, tested by Prometheus' own promtool where it is installed."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.chart.alerts import CASES
from tests.chart.helm import Helm
from tests.chart.queries import ON, rules

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def promtool(*arguments: str | Path) -> str:
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(done.stdout + done.stderr, pytrace=False)
    return done.stdout


def expectation(minute: float, firing: set[str]) -> Any:
    return {
        "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": [
            {"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)
        ],
    }


@pytest.fixture(scope="module")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.json"
    path.write_text(json.dumps({"groups": rules()}), "utf-8")
    return path


@needs_promtool
def test_prometheus_takes_the_rules(rule_file: Path) -> None:
    promtool("check", "rules", rule_file)


@needs_promtool
@pytest.mark.parametrize("name", CASES)
def test_who_fires_when(rule_file: Path, name: str) -> None:
    case = CASES[name]
    series = case.series | case.always
    test = {
        "interval": case.interval,
        "input_series": [{"series": one, "values": values} for one, values in series.items()],
        "promql_expr_test": [expectation(*one) for one in case.fires.items()],
    }
    path = rule_file.with_name(f"{re.sub('[^a-z]+', '-', name)}.json")
    path.write_text(
        json.dumps({"rule_files": [str(rule_file)], "evaluation_interval": "30s", "tests": [test]})
    )
    promtool("test", "rules", path)


def test_every_alert_fires_in_some_case() -> None:
    named = {rule["alert"] for group in rules() for rule in group["rules"] if "alert" in rule}
    firing = {name for case in CASES.values() for names in case.fires.values() for name in names}
    assert firing == named


def test_the_slo_of_the_values_is_in_the_rules(helm: Helm) -> None:
    slo = {"availability": 0.995, "latencyShare": 0.95, "latencySeconds": 1}
    rules = {"slo": slo, "leastBadRequests": 77, "runbookUrl": "https://example.com/runbook"}
    spec = helm.render({**ON, "monitoring": {"enabled": True, "rules": rules}}).one(
        "PrometheusRule"
    )
    text = str(spec)
    for part in (
        "vector(0.005)",
        "vector(0.05)",
        'le=~"1(.0)?"',
        ">= 77",
        "https://example.com/runbook#",
    ):
        assert part in text
