"""The command line: what it becomes, and how it says no."""

from pathlib import Path
from typing import Any

import pytest

from drill import options
from drill.errors import DrillError
from drill.plan import Plan, compared
from drill.scenarios import SCENARIOS


def test_all_scenarios_are_what_there_is() -> None:
    assert options.parse(["--scenario", "all"]).scenario == list(SCENARIOS)
    assert options.parse(["--scenario", "rolling,crash"]).scenario == ["rolling", "crash"]
    assert options.parse([]).scenario == ["rolling"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2s", (2, 2)), ("0.5", (0.5, 0.5)), ("1s-4s", (1, 4)), ("0-10", (0, 10))],
)
def test_propagation_is_a_time_or_a_range(text: str, expected: tuple[float, float]) -> None:
    assert options.parse(["--propagation", text]).propagation == expected


def test_values_and_settings_reach_the_chart(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.touch()
    asked = options.parse(["--values", str(values), "--set", "behind=envoy", "--env", "A=b=c"])
    plan = options.make_plan(asked)
    assert plan.values.arguments() == [f"--values={values}", "--set=behind=envoy"]
    assert plan.environment == {"A": "b=c"}


def test_what_it_is_compared_with_is_plain_uvicorn_perhaps_with_a_sleep() -> None:
    plan = compared(Plan(), "sleep-15")
    deployment = deployment_of({"lifecycle": {"preStop": {"exec": {"command": ["drain"]}}}})
    for patch in plan.patches:
        patch(deployment)
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}
    assert "uvicorn.run" in container["command"][-1]


def deployment_of(container: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(DrillError, match=r"--values missing\.yaml: file not found"):
        options.make_plan(options.parse(["--values", "missing.yaml"]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--scenario", "earthquake"], "'earthquake' is not all or one of rolling, "),
        (["--propagation", "4s-1s"], "4s-1s is not a range within 0 to 3600 s"),
        (["--rate", "0"], "0 is not above 0"),
        (["--replicas", "0"], "0 is below 1"),
        (["--env", "A"], "'A' is not NAME=VALUE"),
        (["--compare", "mine"], "'mine' is neither naive nor sleep-SECONDS"),
        (["--compare", "sleep-0"], "'sleep-0' is neither naive nor sleep-SECONDS"),
    ],
)
def test_a_wrong_option_is_refused(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        options.parse(arguments)
    assert refused.value.code == 2
    assert sentence in capsys.readouterr().err
