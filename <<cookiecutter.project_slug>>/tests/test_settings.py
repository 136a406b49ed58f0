"""Every setting has a name, a default, a range and a meaning."""

import pytest

from app.environment import load, render, variables


def test_the_defaults_are_sound(bare_environment: pytest.MonkeyPatch) -> None:
    settings = load()
    assert settings.port != settings.management_port


def test_values_come_from_the_environment(bare_environment: pytest.MonkeyPatch) -> None:
    bare_environment.setenv("APP_SHUTDOWN__LIMIT_SECONDS", "12.5")
    bare_environment.setenv("APP_LOG__ACCESS", "false")
    bare_environment.setenv("APP_PORT", "")
    settings = load()
    assert settings.shutdown.limit_seconds == 12.5
    assert settings.log.access is False
    assert settings.port == 8080, "an empty variable is none"


def test_every_setting_is_described() -> None:
    listed = render()
    for name, info in variables():
        assert f"{name}  (default " in listed
        assert info.description, f"{name} has no description"
