"""`config:` takes what the settings take, however it is written, and nothing else."""

from typing import Any

import pytest

from app.environment import load
from app.settings import Settings
from dev.generate import TRUTHS, as_value_or_text, config_rules
from tests.chart.helm import Helm, HelmError

TRUTH = [name for name, rule in config_rules() if rule.get("type") == "boolean"]
SECONDS, LEVEL = "APP_PROBES__UNREADY_SECONDS", "APP_LOG__LEVEL"


def loaded(environment: dict[str, str], patch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment.items():
        patch.setenv(name, value)
    return load()


@pytest.mark.parametrize("value", [*TRUTHS, "TRUE", "No", True, False, 1, 0])
def test_a_yes_or_a_no(helm: Helm, value: Any, bare_environment: pytest.MonkeyPatch) -> None:
    environment = helm.render({"config": dict.fromkeys(TRUTH, value)}).environment
    settings = loaded(environment, bare_environment)
    if value != "":
        yes = str(value).lower() in TRUTHS[: TRUTHS.index("false")]
        assert settings.log.access is settings.probes.main_port is yes


@pytest.mark.parametrize("value", ["2", "2.5", ".5", "1e2", "3600", "", 2, 0.25])
def test_a_number(helm: Helm, value: Any, bare_environment: pytest.MonkeyPatch) -> None:
    settings = loaded(helm.render({"config": {SECONDS: value}}).environment, bare_environment)
    assert settings.probes.unready_seconds == float(value or Settings().probes.unready_seconds)


@pytest.mark.parametrize("option", ["--set", "--set-string", "--set-json"])
def test_what_is_set_on_the_command_line(
    helm: Helm, option: str, bare_environment: pytest.MonkeyPatch
) -> None:
    typed = {SECONDS: "0.5", "APP_LOG__ACCESS": "false", LEVEL: "debug", "APP_HOST": "127"}
    if option == "--set-json":
        typed[LEVEL] = '"debug"'
    more = [word for name, value in typed.items() for word in (option, f"config.{name}={value}")]
    settings = loaded(helm.render({}, *more).environment, bare_environment)
    assert settings.probes.unready_seconds == 0.5
    assert settings.log.access is False
    assert settings.log.level == "debug"
    assert settings.host == "127"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (SECONDS, value)
            for value in ("0", "-1", "3600.5", "1e4", "nan", "2s", "1.2.3", -1, True)
        ],
        *[(name, value) for name in TRUTH for value in ("maybe", "2", 2, 0.5)],
        *[(LEVEL, value) for value in ("loud", "DEBUG", 1, True)],
        *[("APP_HOST", value) for value in (True, 0.5, 2**60, ["::"])],
    ],
)
def test_what_the_service_would_refuse_or_read_as_something_else_is_refused(
    helm: Helm, name: str, value: Any
) -> None:
    with pytest.raises(HelmError, match=name):
        helm.render({"config": {name: value}})


@pytest.mark.parametrize(
    ("rule", "types"),
    [
        ({"type": "array", "items": {"type": "string"}}, ["array", "string"]),
        ({"type": "object"}, ["object", "string"]),
        ({"type": "integer", "minimum": 1}, ["integer", "string"]),
    ],
)
def test_lists_objects_and_integers_may_be_text_too(rule: Any, types: list[str]) -> None:
    assert as_value_or_text(rule)["type"] == types
    assert as_value_or_text({"anyOf": [rule, {"type": "null"}]})["anyOf"][0]["type"] == types
