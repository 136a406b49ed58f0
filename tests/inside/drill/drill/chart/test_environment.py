"""A container's environment is put together as the kubelet does."""

from typing import Any

import pytest

from drill.errors import DrillError
from drill.local.containers import environment, expand

FIELDS = {"metadata.name": "web-1", "status.podIP": "127.0.0.9"}
CONFIG = {"kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"A": "config", "B": "b"}}
SECRET = {"kind": "Secret", "metadata": {"name": "key"}, "stringData": {"K": "secret"}}


def of(*env: dict[str, Any], sources: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
    return environment({"env": env, "envFrom": sources}, [CONFIG, SECRET], FIELDS, {})


def test_what_is_given_to_the_drill_need_not_be_in_the_chart() -> None:
    env = {"name": "URL", "valueFrom": {"secretKeyRef": {"name": "elsewhere", "key": "url"}}}
    after = {"name": "ALSO", "value": "$(URL)"}
    found = environment({"env": [env, after]}, [], FIELDS, {"URL": "here", "MORE": "1"})
    assert found == {"URL": "here", "ALSO": "here", "MORE": "1"}


def from_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_a_commands_variables_are_expanded_as_kubernetes_does() -> None:
    variables = {"HOST": "::1", "PORT": "80"}
    words = ("serve", "$(HOST):$(PORT)", "$$(HOST)", "$(UNKNOWN)")
    assert [expand(word, variables) for word in words] == [
        "serve",
        "::1:80",
        "$(HOST)",
        "$(UNKNOWN)",
    ]


def test_variables_win_over_config_and_refer_to_what_stands_before_them() -> None:
    found = of(
        {"name": "A", "value": "own"},
        {"name": "C", "value": "$(A)-$(B)-$(LATER)"},
        {"name": "LATER", "value": "x"},
        sources=({"configMapRef": {"name": "web"}},),
    )
    assert found == {"A": "own", "B": "b", "C": "own-b-$(LATER)", "LATER": "x"}


def test_config_can_have_a_prefix() -> None:
    assert of(sources=({"prefix": "P_", "configMapRef": {"name": "web"}},)) == {
        "P_A": "config",
        "P_B": "b",
    }


def test_the_downward_api() -> None:
    found = of(
        from_field("POD_NAME", "metadata.name"),
        from_field("ZONE", "metadata.labels['zone']"),
        {"name": "URL", "value": "http://$(POD_NAME)"},
    )
    assert found == {"POD_NAME": "web-1", "ZONE": "", "URL": "http://web-1"}


def test_keys_of_config_and_secrets() -> None:
    def key(kind: str, name: str, key: str, **more: bool) -> dict[str, Any]:
        return {"name": "V", "valueFrom": {kind: {"name": name, "key": key, **more}}}

    assert of(key("secretKeyRef", "key", "K")) == {"V": "secret"}
    assert of(key("configMapKeyRef", "web", "A")) == {"V": "config"}
    assert of(key("secretKeyRef", "other", "K", optional=True)) == {}
    with pytest.raises(DrillError, match=r"V comes from the Secret 'other', .*--env V=VALUE"):
        of(key("secretKeyRef", "other", "K"))


@pytest.mark.parametrize(
    "source", [{"fieldRef": {"fieldPath": "status.qosClass"}}, {"resourceFieldRef": {}}]
)
def test_what_only_a_cluster_has_is_said(source: dict[str, Any]) -> None:
    with pytest.raises(DrillError, match=r"V comes from .*, which the drill does not have"):
        of({"name": "V", "valueFrom": source})
