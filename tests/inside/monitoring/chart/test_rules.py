"""The rules that the chart renders, tested by Prometheus' own promtool where it is installed."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.chart.alerts import CASES
from tests.chart.helm import CHART, PROJECT, Helm, HelmError, found

ON = {"monitoring": {"enabled": True}, "networkPolicy": {"enabled": False}}
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")


def rules(**more: Any) -> Any:
    return found()[0].render({**ON, "monitoring": {"enabled": True, **more}}).one("PrometheusRule")["spec"]


def alerts() -> list[Any]:
    return [rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule]


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
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)],
    }


@pytest.fixture(scope="module")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.json"
    path.write_text(json.dumps(rules()), "utf-8")
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
    path.write_text(json.dumps({"rule_files": [str(rule_file)], "evaluation_interval": "30s", "tests": [test]}))
    promtool("test", "rules", path)


def test_every_alert_fires_in_some_case_and_recovers() -> None:
    named = {rule["alert"] for rule in alerts()}
    firing = {name for case in CASES.values() for names in case.fires.values() for name in names}
    assert firing == named
