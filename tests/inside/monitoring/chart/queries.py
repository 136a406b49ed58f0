"""Every query of the rules and of the dashboard, as Prometheus would get it."""

import functools
import json
import re
from typing import Any

from tests.chart.helm import Objects, found

ON = {"monitoring": {"enabled": True}, "networkPolicy": {"enabled": False}}
#: What Grafana puts in.
VARIABLES = {
    "$__rate_interval": "2m",
    "$namespace": "prod",
    "$job": "web-example-service",
    "$pod": ".*",
}


@functools.cache
def rendered() -> Objects:
    return found()[0].render(ON)


def rules() -> Any:
    """The groups of rules."""
    return rendered().one("PrometheusRule")["spec"]["groups"]


def dashboard() -> Any:
    config = rendered().one("ConfigMap")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = config["data"].values()
    return json.loads(text)


def filled_in(query: str, variables: dict[str, str]) -> str:
    for name, value in (VARIABLES | variables).items():
        query = query.replace(name, value)
    return query


def queries(**variables: str) -> dict[str, str]:
    """By where they are."""
    named = {f"${name}": value for name, value in variables.items()}
    every = {
        f"{rule.get('alert', rule.get('record'))}-{number}": rule["expr"]
        for group in rules()
        for number, rule in enumerate(group["rules"])
    }
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            every[f"{panel['title']} {target['refId']}"] = filled_in(target["expr"], named)
    return every


def metrics(query: str) -> set[str]:
    """The names of the metrics in a query: all our selectors have braces."""
    return set(re.findall(r"([a-zA-Z_:][\w:]*)\{", query))
