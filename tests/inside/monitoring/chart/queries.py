"""Every query of the rules and of the dashboard, as Prometheus would get it."""

import json
import re
from typing import Any

from tests.chart.helm import found

ON = {"monitoring": {"enabled": True}, "networkPolicy": {"enabled": False}}
#: What Grafana puts in.
VARIABLES = {
    "$__rate_interval": "2m",
    "$namespace": "prod",
    "$job": "web-example-service",
    "$pod": ".*",
}


def rules() -> Any:
    """The groups of rules."""
    return found()[0].render(ON).one("PrometheusRule")["spec"]["groups"]


def dashboard(values: Any = ON) -> Any:
    (config,) = [
        config
        for config in found()[0].render(values).all("ConfigMap")
        if config["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    (text,) = config["data"].values()
    return json.loads(text)


def filled_in(query: str, variables: dict[str, str] | None = None) -> str:
    for name, value in (VARIABLES | (variables or {})).items():
        query = query.replace(name, value)
    return query


def queries(**variables: str) -> dict[str, str]:
    """By where they are."""
    named = {f"${name}": value for name, value in variables.items()}
    found = {
        f"{rule.get('alert', rule.get('record'))}-{number}": rule["expr"]
        for group in rules()
        for number, rule in enumerate(group["rules"])
    }
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            found[f"{panel['title']} {target['refId']}"] = filled_in(target["expr"], named)
    return found


def metrics(query: str) -> set[str]:
    """The names of the metrics in a query: all our selectors have braces."""
    return set(re.findall(r"([a-zA-Z_:][\w:]*)\{", query))
