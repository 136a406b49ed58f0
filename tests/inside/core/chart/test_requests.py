"""The limits of requests: typed in the values, or derived from what is in front."""

import re
from typing import Any

import pytest
import yaml

from app.environment import load
from app.settings import Settings
from dev.generate import CHART, GROUPS, camel, rules_of
from tests.chart.cases import CASES
from tests.chart.helm import Helm

BEHIND: dict[str, Any] = yaml.safe_load((CHART / "files/behind.yaml").read_text("utf-8"))


def loaded(environment: dict[str, str], patch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment.items():
        patch.setenv(name, value)
    return load()


@pytest.mark.parametrize("group", GROUPS)
def test_values_arrive_exactly(
    helm: Helm, bare_environment: pytest.MonkeyPatch, group: str
) -> None:
    settings = loaded(helm.render(CASES["all-typed"]).environment, bare_environment)
    typed = CASES["all-typed"][group]
    for name, value in getattr(settings, group).model_dump().items():
        assert value == typed[camel(name)], name


def test_nothing_is_set_that_was_not_asked_for(helm: Helm) -> None:
    assert not [name for name in helm.render().environment if "REQUESTS" in name or "WEBS" in name]


def test_the_comments_name_the_defaults_and_every_setting() -> None:
    text = (CHART / "values.yaml").read_text("utf-8")
    for group in GROUPS:
        part = re.search(rf"^{group}:\n((?: .*\n)+)", text, re.MULTILINE)
        assert part
        said = dict(re.findall(r"^  (\w+): null # ([\w.-]+)", part[1], re.MULTILINE))
        defaults = getattr(Settings(), group).model_dump()
        assert {camel(name) for name, _ in rules_of(group)} <= set(said)
        for name, value in defaults.items():
            if value is not None:
                assert said[camel(name)] == f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("router", BEHIND)
def test_the_service_gives_up_before_the_router(
    helm: Helm, bare_environment: pytest.MonkeyPatch, router: str
) -> None:
    settings = loaded(helm.render({"behind": router}).environment, bare_environment)
    limit, timeout = settings.shutdown.limit_seconds, settings.requests.timeout_seconds
    wanted = min(limit, BEHIND[router]["timeout"] - 1) if BEHIND[router]["timeout"] else limit
    assert (timeout or limit) == wanted


@pytest.mark.parametrize(
    ("requests", "timeout"),
    [
        ({"proxyTimeoutSeconds": 10}, 9.0),
        ({"proxyTimeoutSeconds": 1}, 0.5),
        ({"proxyTimeoutSeconds": 600}, None),
        ({"timeoutSeconds": 0}, 0.0),
        ({"timeoutSeconds": 2.5, "proxyTimeoutSeconds": 3, "clientTimeoutSeconds": 4}, 2.5),
        ({"keepAliveLeastSeconds": 91}, None),
    ],
)
def test_times_that_fit(
    helm: Helm,
    bare_environment: pytest.MonkeyPatch,
    requests: dict[str, float],
    timeout: float | None,
) -> None:
    settings = loaded(helm.render({"requests": requests}).environment, bare_environment)
    assert settings.requests.timeout_seconds == timeout
